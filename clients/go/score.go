package salad

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"iter"
	"time"

	"google.golang.org/grpc/codes"

	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

// ScoreOption is a setting of Score and ScoreImage.
type ScoreOption func(*listeners)

type listeners struct {
	onEvent func(Event)
	onRetry func(RetryNotice)
}

// OnEvent is called with every answer of the server while the acquisition is being sent.
func OnEvent(listener func(Event)) ScoreOption {
	return func(l *listeners) { l.onEvent = listener }
}

// OnRetry is called before every further attempt.
func OnRetry(listener func(RetryNotice)) ScoreOption {
	return func(l *listeners) { l.onRetry = listener }
}

// Score streams one acquisition to its end and returns its one result. A broken connection, a restarting server and a
// refusal with a retry delay lead to another attempt, where the source can be replayed or has not begun. The error is
// an *Error, that of the last attempt, or the error of the source, unchanged.
func (c *Client) Score(ctx context.Context, header *saladv1.AcquisitionHeader, source Source, options ...ScoreOption) (*Result, error) {
	header = completed(header)
	return c.score(ctx, options, func(ctx context.Context) (iter.Seq2[Event, error], func() bool) {
		sending := new(sending)
		return c.stream(ctx, header, source, sending), func() bool { return source.replayable || !sending.began }
	})
}

// ScoreImage scores a PNG or JPEG file, or a DICOM file of one frame, as Score does. Of the header's image only fields
// that the file lacks are read.
func (c *Client) ScoreImage(ctx context.Context, header *saladv1.AcquisitionHeader, encoded []byte, options ...ScoreOption) (*Result, error) {
	request := &saladv1.ScoreImageRequest{
		Header: completed(header),
		Image:  &saladv1.ScoreImageRequest_Encoded{Encoded: encoded},
	}
	return c.score(ctx, options, func(ctx context.Context) (iter.Seq2[Event, error], func() bool) {
		return c.streamImage(ctx, request), func() bool { return true }
	})
}

func (c *Client) streamImage(ctx context.Context, request *saladv1.ScoreImageRequest) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		authorized, err := c.withCredentials(ctx)
		if err != nil {
			yield(Event{}, err)
			return
		}
		call, err := c.scoring.ScoreImage(authorized, request)
		if err != nil {
			yield(Event{}, errorOf(ctx, err))
			return
		}
		for {
			response, err := call.Recv()
			if err != nil {
				if failure := endOf(ctx, err); failure != nil {
					yield(Event{}, failure)
				}
				return
			}
			if event, known := eventOf(response); known && !yield(event, nil) {
				return
			}
		}
	}
}

// score makes attempts until one succeeds, one must not be repeated, or no time is left. Each attempt has a function
// that reports afterwards whether the attempt may be repeated.
func (c *Client) score(
	ctx context.Context, options []ScoreOption, attempt func(context.Context) (iter.Seq2[Event, error], func() bool),
) (*Result, error) {
	var listening listeners
	for _, option := range options {
		option(&listening)
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	state := newAttempts(ctx, c.settings.retry)
	for {
		events, repeatable := attempt(ctx)
		result, err := collect(events, listening.onEvent)
		if err == nil {
			return result, nil
		}
		if source := (sourceError{}); errors.As(err, &source) {
			return nil, source.error
		}
		failure, isCall := err.(*Error)
		if !isCall || !repeatable() {
			return nil, err
		}
		delay, again := state.failed(failure)
		if !again {
			return nil, err
		}
		if listening.onRetry != nil {
			listening.onRetry(RetryNotice{Attempt: state.number, Delay: delay, Err: failure})
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, &Error{Code: codes.Canceled, Message: "cancelled while waiting for the next attempt", cause: ctx.Err()}
		}
	}
}

func collect(events iter.Seq2[Event, error], onEvent func(Event)) (*Result, error) {
	result := &Result{}
	for event, err := range events {
		if err != nil {
			return nil, err
		}
		if onEvent != nil {
			onEvent(event)
		}
		result.take(event)
	}
	if result.Accepted == nil || result.Aggregate == nil {
		return nil, &Error{Code: codes.Internal, Message: "the server ended the call without an aggregate"}
	}
	return result, nil
}

func newID() string {
	var id [16]byte
	// Never fails.
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}
