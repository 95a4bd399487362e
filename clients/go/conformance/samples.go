package main

import (
	"encoding/binary"

	salad "github.com/salad-serve/salad-serve/clients/go"
	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

// imageOf returns an image in memory, with the type of its samples, as a source.
func imageOf(samples []byte, form *saladv1.ImageFormat) salad.Source {
	columns := int(form.GetColumns())
	if form.GetBitsAllocated() == 8 && !form.GetIsSigned() {
		return salad.Image(samples, columns)
	}
	if form.GetIsSigned() {
		return salad.Image(sixteen[int16](samples), columns)
	}
	return salad.Image(sixteen[uint16](samples), columns)
}

func sixteen[T uint16 | int16](samples []byte) []T {
	values := make([]T, len(samples)/2)
	for i := range values {
		values[i] = T(binary.LittleEndian.Uint16(samples[2*i:]))
	}
	return values
}

func chunkOf(samples []byte, chunk chunkCase) salad.Chunk {
	cut := func(part slice) []byte { return samples[part.Offset : part.Offset+part.Length] }
	if chunk.Tiles == nil {
		return salad.Rows{FirstRow: chunk.FirstRow, Samples: cut(chunk.slice)}
	}
	var tiles salad.Tiles
	for _, tile := range chunk.Tiles {
		tiles = append(tiles, salad.Tile{Row: tile.Row, Column: tile.Column, Samples: cut(tile.slice)})
	}
	return tiles
}
