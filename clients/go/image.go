package salad

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"unsafe"

	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

// Rows are gathered into messages of about this many bytes.
const messageBytes = 256 * 1024

// Sample is a type of stored values of the wire. Other types do not compile: their bytes would be scored as if they
// were samples.
type Sample interface {
	uint8 | int8 | uint16 | int16
}

// FormatOf returns the format of pixels [rows, columns], row by row: a header's image, to which bits stored, rescale
// and window may be added. It panics where the pixels are not whole rows.
func FormatOf[T Sample](pixels []T, columns int) *saladv1.ImageFormat {
	var zero T
	return &saladv1.ImageFormat{
		Rows:          uint32(rowsOf(pixels, columns)),
		Columns:       uint32(columns),
		BitsAllocated: uint32(8 * unsafe.Sizeof(zero)),
		IsSigned:      zero-1 < zero,
	}
}

// Image is a source of pixels [rows, columns] in memory, row by row, which must not be changed during the acquisition.
// It panics where they are not whole rows.
func Image[T Sample](pixels []T, columns int) Source {
	rows := rowsOf(pixels, columns)
	var zero T
	step := max(1, messageBytes/(columns*int(unsafe.Sizeof(zero))))
	var chunks []Chunk
	for first := 0; first < rows; first += step {
		last := min(rows, first+step)
		chunks = append(chunks, lazyRows[T]{first, pixels[first*columns : last*columns]})
	}
	return Chunks(chunks...)
}

// RowsOf returns a chunk of whole rows from firstRow on.
func RowsOf[T Sample](firstRow int, pixels []T) Rows {
	return Rows{firstRow, samplesOf(pixels)}
}

// lazyRows are written when they are sent, so that an image is not in memory twice.
type lazyRows[T Sample] struct {
	firstRow int
	pixels   []T
}

func (l lazyRows[T]) request(add func([]byte)) *saladv1.StreamAcquisitionRequest {
	return RowsOf(l.firstRow, l.pixels).request(add)
}

func rowsOf[T Sample](pixels []T, columns int) int {
	if columns < 1 || len(pixels) == 0 || len(pixels)%columns != 0 {
		panic(fmt.Sprintf("salad: %d pixels are not whole rows of %d", len(pixels), columns))
	}
	return len(pixels) / columns
}

// samplesOf returns the samples in the format of the wire, little-endian on every machine.
func samplesOf[T Sample](pixels []T) []byte {
	var zero T
	if unsafe.Sizeof(zero) == 1 {
		bytes := make([]byte, len(pixels))
		for i, pixel := range pixels {
			bytes[i] = byte(pixel)
		}
		return bytes
	}
	bytes := make([]byte, 2*len(pixels))
	for i, pixel := range pixels {
		binary.LittleEndian.PutUint16(bytes[2*i:], uint16(pixel))
	}
	return bytes
}

// PlacementOf returns the rectangle of the source image in the working image. A server that sends no placement
// stretches the source over the whole working image.
func PlacementOf(accepted *saladv1.AcquisitionAccepted) *saladv1.Placement {
	if place := accepted.GetPlacement(); place != nil {
		return place
	}
	geometry := accepted.GetGeometry()
	return &saladv1.Placement{Rows: geometry.GetWorkingRows(), Columns: geometry.GetWorkingColumns()}
}

// Number of tiles in a message.
const tilesPerMessage = 8

// DisplayTiles cuts display values into the tiles of an accepted acquisition, for a header with BitsAllocated 32 and
// SOURCE_TILES. They are [placement rows, placement columns] in [0, 255], row by row: the source image after the
// display transform, resampled to the placement of accepted, as the contract says. It returns an error where their
// number is wrong.
func DisplayTiles(accepted *saladv1.AcquisitionAccepted, display []float32) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		place, geometry := PlacementOf(accepted), accepted.GetGeometry()
		if len(display) != int(place.GetRows()*place.GetColumns()) {
			yield(nil, fmt.Errorf("salad: %d display values are not %d rows of %d", len(display), place.GetRows(), place.GetColumns()))
			return
		}
		var tiles Tiles
		for row := range int(geometry.GetTileRows()) {
			for column := range int(geometry.GetTileColumns()) {
				tiles = append(tiles, Tile{row, column, coreOf(geometry, place, display, row, column)})
				if len(tiles) < tilesPerMessage {
					continue
				}
				if !yield(tiles, nil) {
					return
				}
				tiles = nil
			}
		}
		if len(tiles) > 0 {
			yield(tiles, nil)
		}
	}
}

// coreOf returns the samples of one core; black around the placed image.
func coreOf(geometry *saladv1.Geometry, place *saladv1.Placement, display []float32, tileRow, tileColumn int) []byte {
	height, width := int(geometry.GetCoreSize()), int(geometry.GetCoreColumns())
	if width == 0 {
		// A server of an older version, with square tiles only, does not send the columns.
		width = height
	}
	samples := make([]byte, 4*height*width)
	for y := range height {
		row := tileRow*height + y - int(place.GetTop())
		if row < 0 || row >= int(place.GetRows()) {
			continue
		}
		for x := range width {
			column := tileColumn*width + x - int(place.GetLeft())
			if column < 0 || column >= int(place.GetColumns()) {
				continue
			}
			value := display[row*int(place.GetColumns())+column]
			binary.LittleEndian.PutUint32(samples[4*(y*width+x):], math.Float32bits(value))
		}
	}
	return samples
}
