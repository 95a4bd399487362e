package salad

import (
	"context"
	"math"
	"math/rand/v2"
	"regexp"
	"time"

	"google.golang.org/grpc/codes"
)

// Retry sets how often and after which wait a broken attempt is repeated. Scoring has no side effects, so a further
// attempt has the same result. The wait is uniform between 0 and InitialBackoff, which doubles with every attempt up to
// MaxBackoff, plus the delay that the server sent.
type Retry struct {
	// MaxAttempts counts the first attempt too; 0 means 8, or with a deadline as many as fit before it.
	MaxAttempts int
	// InitialBackoff is 100 ms where it is 0.
	InitialBackoff time.Duration
	// MaxBackoff is 5 s where it is 0.
	MaxBackoff time.Duration
}

// RetryNotice is sent before every further attempt: the events so far belong to an attempt that broke.
type RetryNotice struct {
	// Attempt is the number of the attempt about to start: 2 for the first retry.
	Attempt int
	// Delay is the wait before it.
	Delay time.Duration
	// Err is the error of the previous attempt.
	Err *Error
}

const (
	attemptsMax    = 8
	initialBackoff = 100 * time.Millisecond
	maxBackoff     = 5 * time.Second
	// If not a pause but a slow source was the cause, every attempt would time out.
	idleRetries = 1
)

// attempts is the state of one call with its retries.
type attempts struct {
	retry        *Retry
	deadline     time.Time // zero without a deadline
	number       int
	idleTimeouts int
	now          func() time.Time
	random       func() float64
}

func newAttempts(ctx context.Context, retry *Retry) *attempts {
	deadline, _ := ctx.Deadline()
	return &attempts{retry: retry, deadline: deadline, number: 1, now: time.Now, random: rand.Float64}
}

// failed returns the wait before the next attempt, and false where none may follow.
func (a *attempts) failed(failure *Error) (time.Duration, bool) {
	if a.retry == nil || !isBroken(failure) {
		return 0, false
	}
	limit := a.retry.MaxAttempts
	if limit == 0 && a.deadline.IsZero() {
		limit = attemptsMax
	}
	if limit != 0 && a.number >= limit {
		return 0, false
	}
	if failure.Reason == "IDLE_TIMEOUT" {
		if a.idleTimeouts++; a.idleTimeouts > idleRetries {
			return 0, false
		}
	}
	delay := a.backoff()
	if failure.RetryAfter != nil {
		delay += *failure.RetryAfter
	}
	// Too little time would be left after the wait, so the error is returned now.
	if !a.deadline.IsZero() && delay >= a.deadline.Sub(a.now()) {
		return 0, false
	}
	a.number++
	return delay, true
}

// backoff has full jitter, so that clients that were refused together do not retry together.
func (a *attempts) backoff() time.Duration {
	initial, highest := a.retry.InitialBackoff, a.retry.MaxBackoff
	if initial == 0 {
		initial = initialBackoff
	}
	if highest == 0 {
		highest = maxBackoff
	}
	step := min(float64(highest), float64(initial)*math.Pow(2, float64(a.number-1)))
	return time.Duration(a.random() * step)
}

// Messages of the transport for a reset that it does not report as a broken connection. Errors of the server have a
// reason.
var reset = regexp.MustCompile(`RST_STREAM|connection reset|error reading from server|stream terminated`)

// isBroken reports whether the connection or the server ended or was paused, or the server sent a retry delay.
func isBroken(failure *Error) bool {
	switch {
	case failure.cause != nil:
		return false
	case failure.Code == codes.Unavailable, failure.Reason == "IDLE_TIMEOUT":
		return true
	case failure.Code == codes.ResourceExhausted:
		return failure.RetryAfter != nil
	case failure.Code == codes.Internal, failure.Code == codes.Canceled, failure.Code == codes.Unknown:
		return failure.Reason == "" && reset.MatchString(failure.Message)
	}
	return false
}
