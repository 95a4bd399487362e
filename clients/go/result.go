package salad

import (
	"encoding/binary"
	"fmt"
	"math"

	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

// Result is the result of an acquisition.
type Result struct {
	Accepted  *saladv1.AcquisitionAccepted
	Aggregate *saladv1.AcquisitionAggregate
	// Patches in completion order; none where the header's options switch patch scores off.
	Patches []*saladv1.PatchScore
}

func (r *Result) take(event Event) {
	switch {
	case event.Accepted != nil:
		r.Accepted = event.Accepted
	case event.Aggregate != nil:
		r.Aggregate = event.Aggregate
	default:
		r.Patches = append(r.Patches, event.Patches...)
	}
}

// Grid has values [rows, columns], row by row.
type Grid struct {
	Rows, Columns int
	Values        []float32
}

// At returns one value.
func (g Grid) At(row, column int) float32 {
	return g.Values[row*g.Columns+column]
}

// Scores returns the score of every patch of the patch grid: the distance to the memory bank; NaN where nothing was
// scored.
func (r *Result) Scores() Grid {
	return r.grid((*saladv1.PatchScore).GetScore)
}

// RobustZ returns the robust z of every patch; NaN where nothing was scored.
func (r *Result) RobustZ() Grid {
	return r.grid((*saladv1.PatchScore).GetRobustZ)
}

// PValues returns the p-value of every patch, in (0, 1]; NaN where nothing was scored.
func (r *Result) PValues() Grid {
	return r.grid((*saladv1.PatchScore).GetPValue)
}

func (r *Result) grid(value func(*saladv1.PatchScore) float32) Grid {
	geometry := r.Accepted.GetGeometry()
	grid := newGrid(geometry.GetPatchRows(), geometry.GetPatchColumns())
	for _, patch := range r.Patches {
		grid.Values[int(patch.GetRow())*grid.Columns+int(patch.GetColumn())] = value(patch)
	}
	return grid
}

// AnomalyMap returns the map of robust z in the geometry of the source image, its longer side up to 512 pixels; NaN
// where nothing that counts for the image score was scored. The error means that the header's options did not request
// ANOMALY_MAP_FORMAT_FLOAT32.
func (r *Result) AnomalyMap() (Grid, error) {
	said := r.Aggregate.GetAnomalyMap()
	if said.GetFormat() != saladv1.AnomalyMapFormat_ANOMALY_MAP_FORMAT_FLOAT32 {
		return Grid{}, fmt.Errorf("salad: the map is %v: ask for ANOMALY_MAP_FORMAT_FLOAT32", said.GetFormat())
	}
	grid := newGrid(said.GetRows(), said.GetColumns())
	if len(said.GetData()) != 4*len(grid.Values) {
		return Grid{}, fmt.Errorf("salad: a map of %d bytes is not %d rows of %d", len(said.GetData()), grid.Rows, grid.Columns)
	}
	for i := range grid.Values {
		grid.Values[i] = math.Float32frombits(binary.LittleEndian.Uint32(said.GetData()[4*i:]))
	}
	return grid, nil
}

func newGrid(rows, columns uint32) Grid {
	grid := Grid{int(rows), int(columns), make([]float32, rows*columns)}
	for i := range grid.Values {
		grid.Values[i] = float32(math.NaN())
	}
	return grid
}
