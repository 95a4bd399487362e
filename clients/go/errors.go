package salad

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is a call that failed.
type Error struct {
	// Code is the gRPC status.
	Code codes.Code
	// Message is human-readable.
	Message string
	// Reason is the stable reason from the server's reference of errors, such as "TILE_DUPLICATE"; "" where the server
	// sent none.
	Reason string
	// Violations name the invalid fields of the request.
	Violations []Violation
	// RetryAfter is the delay before another attempt; nil where the server sent none.
	RetryAfter *time.Duration
	cause      error
}

// Violation is an invalid field of the request, such as "header.image.rows".
type Violation struct {
	Field       string
	Description string
}

func (e *Error) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%v: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("%v (%s): %s", e.Code, e.Reason, e.Message)
}

// Unwrap returns context.Canceled or context.DeadlineExceeded where the caller's context ended the call.
func (e *Error) Unwrap() error {
	return e.cause
}

// GRPCStatus is read by status.Code and status.FromError.
func (e *Error) GRPCStatus() *status.Status {
	return status.New(e.Code, e.Message)
}

// errorOf returns the error of a call that ran in ctx.
func errorOf(ctx context.Context, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	said := status.Convert(err)
	failure := &Error{Code: said.Code(), Message: said.Message()}
	switch failure.Code {
	case codes.Canceled, codes.DeadlineExceeded:
		failure.cause = ctx.Err()
	default:
	}
	for _, detail := range said.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			failure.Reason = detail.GetReason()
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				failure.Violations = append(failure.Violations, Violation{violation.GetField(), violation.GetDescription()})
			}
		case *errdetails.RetryInfo:
			delay := detail.GetRetryDelay().AsDuration()
			failure.RetryAfter = &delay
		}
	}
	return failure
}
