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
	// Message is for people.
	Message string
	// Reason is the stable reason that the server's reference of errors lists, such as "TILE_DUPLICATE"; "" where the
	// server gave none.
	Reason string
	// Violations name the fields of the request at fault.
	Violations []Violation
	// RetryAfter is how long to wait before another try; nil where the server named no delay.
	RetryAfter *time.Duration
	cause      error
}

// Violation is a field of the request that is at fault, such as "header.image.rows".
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

// GRPCStatus lets status.Code and status.FromError read the error.
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
