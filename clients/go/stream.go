package salad

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

// Event is an answer of the server: exactly one field is set.
type Event struct {
	// Accepted comes first: the server has accepted the acquisition.
	Accepted *saladv1.AcquisitionAccepted
	// Patches are scores that are ready, in completion order.
	Patches []*saladv1.PatchScore
	// Aggregate comes last.
	Aggregate *saladv1.AcquisitionAggregate
}

// Stream streams one acquisition and yields the answers of the server while it is still being sent. It makes only one
// attempt, because yielded answers cannot be withdrawn. The end of the loop cancels the acquisition and ends the
// context of the source. An error is the last value: an *Error, or the error of the source, unchanged.
//
// A header needs a model and an image; fields that are not set have the defaults of the contract, and the acquisition
// gets a random ID where it has none.
func (c *Client) Stream(ctx context.Context, header *saladv1.AcquisitionHeader, source Source) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, cancel := c.withTimeout(ctx)
		defer cancel()
		for event, err := range c.stream(ctx, header, source, new(sending)) {
			var failure sourceError
			if errors.As(err, &failure) {
				err = failure.error
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// sourceError is an error of the source, as opposed to an error of the call.
type sourceError struct{ error }

// stream is Stream without its timeout. An error of the source is yielded as sourceError.
func (c *Client) stream(ctx context.Context, header *saladv1.AcquisitionHeader, source Source, sending *sending) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		authorized, err := c.withCredentials(ctx)
		if err != nil {
			yield(Event{}, err)
			return
		}
		call, err := c.scoring.StreamAcquisition(authorized)
		if err != nil {
			yield(Event{}, errorOf(ctx, err))
			return
		}
		stop := sending.start(ctx, cancel, call, completed(header), source)
		defer stop()
		for {
			response, err := call.Recv()
			if err != nil {
				// Before this context is cancelled: the error depends on whether the caller's context had ended.
				failure := endOf(ctx, err)
				stop()
				if sending.failure != nil {
					failure = sending.failure
				}
				if failure != nil {
					yield(Event{}, failure)
				}
				return
			}
			event, known := eventOf(response)
			if !known {
				continue
			}
			if event.Accepted != nil {
				sending.begin(event.Accepted)
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

// response is the answer of both calls of the contract.
type response interface {
	GetAccepted() *saladv1.AcquisitionAccepted
	GetPatchScores() *saladv1.PatchScores
	GetAggregate() *saladv1.AcquisitionAggregate
}

// eventOf returns false for an unknown answer, of a newer server.
func eventOf(said response) (Event, bool) {
	event := Event{Accepted: said.GetAccepted(), Patches: said.GetPatchScores().GetPatches(), Aggregate: said.GetAggregate()}
	return event, event.Accepted != nil || len(event.Patches) > 0 || event.Aggregate != nil
}

// endOf returns nil for a call that succeeded.
func endOf(ctx context.Context, err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return errorOf(ctx, err)
}

// completed returns the header with the defaults of the client.
func completed(header *saladv1.AcquisitionHeader) *saladv1.AcquisitionHeader {
	header = proto.CloneOf(header)
	if header.GetAcquisitionId() == "" {
		header.AcquisitionId = newID()
	}
	if header.GetSource() == saladv1.Source_SOURCE_UNSPECIFIED {
		header.Source = saladv1.Source_SOURCE_ROWS
	}
	return header
}

// sending is the half of a call that sends, in its own goroutine.
type sending struct {
	accepted chan *saladv1.AcquisitionAccepted
	done     chan struct{}
	// These are read after done.
	began    bool
	failure  error
	panicked any
}

type streamingCall = grpc.BidiStreamingClient[saladv1.StreamAcquisitionRequest, saladv1.StreamAcquisitionResponse]

// start begins to send. The returned function ends the call, waits for the source, and panics where the source did; it
// may be called more than once.
func (s *sending) start(ctx context.Context, cancel func(), call streamingCall, header *saladv1.AcquisitionHeader, source Source) func() {
	s.accepted = make(chan *saladv1.AcquisitionAccepted, 1)
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		defer func() {
			if s.panicked = recover(); s.panicked != nil {
				cancel()
			}
		}()
		if err := s.run(ctx, call, header, source.pixels); err != nil {
			s.failure = err
			cancel()
		}
	}()
	return func() {
		cancel()
		<-s.done
		if panicked := s.panicked; panicked != nil {
			s.panicked = nil
			panic(panicked)
		}
	}
}

// begin starts the source.
func (s *sending) begin(accepted *saladv1.AcquisitionAccepted) {
	select {
	case s.accepted <- accepted:
	default:
	}
}

// run returns an error of the source as sourceError, and an *Error where a message cannot be written. Where the server
// ended the call, it returns nothing: the status of the call has the reason.
func (s *sending) run(ctx context.Context, call streamingCall, header *saladv1.AcquisitionHeader, pixels Pixels) error {
	first := &saladv1.StreamAcquisitionRequest{Payload: &saladv1.StreamAcquisitionRequest_Header{Header: header}}
	if err := call.Send(first); err != nil {
		return unsent(ctx, err)
	}
	var accepted *saladv1.AcquisitionAccepted
	select {
	case accepted = <-s.accepted:
	case <-ctx.Done():
		return nil
	}
	s.began = true
	checksum := uint32(0)
	add := func(samples []byte) { checksum = crc32.Update(checksum, castagnoli, samples) }
	for chunk, err := range pixels(ctx, accepted) {
		if ctx.Err() != nil {
			// The call has ended: an error of the source that this caused is no failure of the source.
			return nil
		}
		if err != nil {
			return sourceError{err}
		}
		if chunk == nil {
			return sourceError{errors.New("salad: the source gave neither a chunk nor an error")}
		}
		if err := call.Send(chunk.request(add)); err != nil {
			return unsent(ctx, err)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	end := &saladv1.AcquisitionEnd{Crc32C: &checksum}
	if err := call.Send(&saladv1.StreamAcquisitionRequest{Payload: &saladv1.StreamAcquisitionRequest_End{End: end}}); err != nil {
		return unsent(ctx, err)
	}
	return call.CloseSend()
}

// unsent returns why a message could not be written, and nothing where the call has ended.
func unsent(ctx context.Context, err error) error {
	if errors.Is(err, io.EOF) || ctx.Err() != nil {
		return nil
	}
	return errorOf(ctx, err)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
