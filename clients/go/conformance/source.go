package main

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"log"
	"math"
	"os"

	salad "github.com/salad-serve/salad-serve/clients/go"
	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

func sourceOf(asked *caseMessage, header *saladv1.AcquisitionHeader) salad.Source {
	samples := read(asked.Samples)
	if asked.Display {
		display := make([]float32, len(samples)/4)
		for i := range display {
			display[i] = math.Float32frombits(binary.LittleEndian.Uint32(samples[4*i:]))
		}
		return salad.Replayable(func(_ context.Context, accepted *saladv1.AcquisitionAccepted) iter.Seq2[salad.Chunk, error] {
			return salad.DisplayTiles(accepted, display)
		})
	}
	if asked.Chunks == nil {
		return imageOf(samples, header.GetImage())
	}
	var chunks []salad.Chunk
	for _, chunk := range asked.Chunks {
		chunks = append(chunks, chunkOf(samples, chunk))
	}
	pixels := func(ctx context.Context, _ *saladv1.AcquisitionAccepted) iter.Seq2[salad.Chunk, error] {
		return func(yield func(salad.Chunk, error) bool) {
			for i := range len(chunks) + 1 {
				if asked.FailAfter != nil && i == *asked.FailAfter {
					yield(nil, errors.New("the source failed"))
					return
				}
				if asked.HoldAfter != nil && i == *asked.HoldAfter {
					<-ctx.Done()
					return
				}
				if i < len(chunks) && !yield(chunks[i], nil) {
					return
				}
			}
		}
	}
	if asked.Once {
		return salad.Once(pixels)
	}
	return salad.Replayable(pixels)
}

// imageOf is the call for an image in memory, with the type of its samples.
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

func read(file string) []byte {
	content, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	return content
}
