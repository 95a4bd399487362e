package salad

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

func ms(count int) time.Duration {
	return time.Duration(count) * time.Millisecond
}

func state(retry *Retry, timeout time.Duration) *attempts {
	now := time.Unix(100, 0)
	one := newAttempts(context.Background(), retry)
	one.random, one.now = func() float64 { return 0.5 }, func() time.Time { return now }
	if timeout > 0 {
		one.deadline = now.Add(timeout)
	}
	return one
}

var gone = &Error{Code: codes.Unavailable, Message: "gone"}

func TestTheWaitIsHalfOfAStepThatDoubles(t *testing.T) {
	one := state(&Retry{InitialBackoff: ms(100), MaxBackoff: ms(500)}, 0)
	for _, expected := range []int{50, 100, 200, 250, 250} {
		if delay, again := one.failed(gone); !again || delay != ms(expected) {
			t.Errorf("%v, not %d ms", delay, expected)
		}
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	for _, limited := range []struct {
		retry *Retry
		count int
	}{{&Retry{}, 7}, {&Retry{MaxAttempts: 3}, 2}, {&Retry{MaxAttempts: 1}, 0}, {nil, 0}} {
		one := state(limited.retry, 0)
		for range limited.count {
			if _, again := one.failed(gone); !again {
				t.Fatalf("%v: too few", limited.retry)
			}
		}
		if _, again := one.failed(gone); again {
			t.Errorf("%v: too many", limited.retry)
		}
	}
}

func TestTheDelayOfTheServerIsAdded(t *testing.T) {
	delay := 2 * time.Second
	full := &Error{Code: codes.ResourceExhausted, Reason: "OVERLOADED", RetryAfter: &delay}
	if wait, again := state(&Retry{}, 0).failed(full); !again || wait != delay+ms(50) {
		t.Errorf("%v", wait)
	}
}

func TestAWaitThatEndsAfterTheDeadlineIsNotBegun(t *testing.T) {
	long := &Retry{InitialBackoff: 8 * time.Second, MaxBackoff: 8 * time.Second}
	if wait, again := state(long, 5*time.Second).failed(gone); !again || wait != 4*time.Second {
		t.Errorf("%v", wait)
	}
	if _, again := state(long, 4*time.Second).failed(gone); again {
		t.Error("begun")
	}
}

func TestAPauseIsTriedOnceMore(t *testing.T) {
	one, idle := state(&Retry{}, 0), &Error{Code: codes.DeadlineExceeded, Reason: "IDLE_TIMEOUT"}
	for _, step := range []struct {
		failure *Error
		again   bool
	}{{idle, true}, {gone, true}, {idle, false}} {
		if _, again := one.failed(step.failure); again != step.again {
			t.Errorf("%v", step.failure)
		}
	}
}

func TestWhatPassesByItself(t *testing.T) {
	delay := ms(100)
	for failure, expected := range map[*Error]bool{
		gone: true,
		{Code: codes.ResourceExhausted, RetryAfter: &delay}:                                         true,
		{Code: codes.Internal, Message: "stream terminated by RST_STREAM with error code: CANCEL"}:  true,
		{Code: codes.ResourceExhausted}:                                                             false,
		{Code: codes.DeadlineExceeded, cause: context.DeadlineExceeded}:                             false,
		{Code: codes.Internal, Reason: "INTERNAL", Message: "RST_STREAM"}:                           false,
		{Code: codes.Canceled, Message: "stream terminated by RST_STREAM", cause: context.Canceled}: false,
		{Code: codes.InvalidArgument}:                                                               false,
	} {
		if isBroken(failure) != expected {
			t.Errorf("%v", failure)
		}
	}
}
