// Command stream_detector streams rows as a detector reads them out, and reads scores meanwhile:
// stream_detector HOST:PORT MODEL
package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	salad "github.com/salad-serve/salad-serve/clients/go"
	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

const rows, columns, band = 1024, 1024, 32

// detector gives bands of 32 rows of 12-bit samples: noise, in the place of what a detector reads out.
func detector(ctx context.Context, _ *saladv1.AcquisitionAccepted) iter.Seq2[salad.Chunk, error] {
	return func(yield func(salad.Chunk, error) bool) {
		random := rand.New(rand.NewPCG(7, 0))
		for first := 0; first < rows; first += band {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return
			}
			samples := make([]uint16, band*columns)
			for i := range samples {
				samples[i] = uint16(1000 + random.IntN(2000))
			}
			if !yield(salad.RowsOf(first, samples), nil) {
				return
			}
		}
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: stream_detector HOST:PORT MODEL")
		os.Exit(2)
	}
	client, err := salad.New(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	header := &saladv1.AcquisitionHeader{
		Model: &saladv1.ModelSelector{Name: os.Args[2]},
		Image: &saladv1.ImageFormat{Rows: rows, Columns: columns, BitsAllocated: 16, BitsStored: 12},
	}
	for event, err := range client.Stream(context.Background(), header, salad.Once(detector)) {
		switch {
		case err != nil:
			failed := new(salad.Error)
			if errors.As(err, &failed) {
				log.Fatalf("the call failed: %s", failed.Message)
			}
			log.Fatal(err)
		case event.Accepted != nil:
			model := event.Accepted.GetModel()
			fmt.Printf("accepted by %s version %d on %s\n", model.GetName(), model.GetVersion(), event.Accepted.GetEngine())
		case event.Aggregate != nil:
			one := event.Aggregate
			decision := strings.ToLower(strings.TrimPrefix(one.GetDecision().String(), "DECISION_"))
			fmt.Printf("%s, p = %.4f, %d patches scored\n", decision, one.GetPValue(), one.GetCoverage().GetScored())
		default:
			fmt.Printf("%d patch scores\n", len(event.Patches))
		}
	}
}
