package salad

import (
	"context"
	"iter"

	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

// Chunk is the content of one message: Rows or Tiles.
type Chunk interface {
	// request writes the chunk as a message and calls add with its samples in the order in which they are sent.
	request(add func(samples []byte)) *saladv1.StreamAcquisitionRequest
}

// Rows are whole rows from FirstRow on. 16-bit samples are little-endian; RowsOf writes them.
type Rows struct {
	FirstRow int
	Samples  []byte
}

// Tile has the samples of one tile's core, row by row, in the header's pixel format.
type Tile struct {
	Row, Column int
	Samples     []byte
}

// Tiles are one or more tiles, each sent once in the acquisition.
type Tiles []Tile

func (r Rows) request(add func([]byte)) *saladv1.StreamAcquisitionRequest {
	add(r.Samples)
	rows := &saladv1.PixelRows{FirstRow: uint32(r.FirstRow), Samples: r.Samples}
	return &saladv1.StreamAcquisitionRequest{Payload: &saladv1.StreamAcquisitionRequest_Rows{Rows: rows}}
}

func (t Tiles) request(add func([]byte)) *saladv1.StreamAcquisitionRequest {
	message := &saladv1.PixelTiles{}
	for _, tile := range t {
		add(tile.Samples)
		message.Tiles = append(message.Tiles,
			&saladv1.PixelTile{Row: uint32(tile.Row), Column: uint32(tile.Column), Samples: tile.Samples})
	}
	return &saladv1.StreamAcquisitionRequest{Payload: &saladv1.StreamAcquisitionRequest_Tiles{Tiles: message}}
}

// Pixels yields the chunks of one acquisition after the server accepted it. An error ends the acquisition and is
// returned unchanged. It runs in its own goroutine, and must return when ctx ends: the end of Stream waits for it.
type Pixels func(ctx context.Context, accepted *saladv1.AcquisitionAccepted) iter.Seq2[Chunk, error]

// Source provides the pixels of an acquisition: Image, Replayable or Once.
type Source struct {
	pixels     Pixels
	replayable bool
}

// Replayable is a source that yields the same pixels from the start on every call: broken acquisitions are sent
// again.
func Replayable(pixels Pixels) Source {
	return Source{pixels, true}
}

// Once is a source that can be read once, such as a detector: an acquisition that broke after the source began is not
// sent again.
func Once(pixels Pixels) Source {
	return Source{pixels, false}
}

// Chunks is a source of chunks in memory.
func Chunks(chunks ...Chunk) Source {
	return Replayable(func(context.Context, *saladv1.AcquisitionAccepted) iter.Seq2[Chunk, error] {
		return func(yield func(Chunk, error) bool) {
			for _, chunk := range chunks {
				if !yield(chunk, nil) {
					return
				}
			}
		}
	})
}
