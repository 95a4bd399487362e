package salad

import (
	"context"
	"math"
	"math/rand/v2"
	"regexp"
	"time"

	"google.golang.org/grpc/codes"
)

// Retry says how often and how soon a broken attempt is tried again. Scoring is pure, so a further attempt can only give
// the same result. The wait is uniform between 0 and InitialBackoff, which doubles with every attempt up to MaxBackoff,
// plus the delay that the server asked for.
type Retry struct {
	// MaxAttempts counts the first attempt too; 0 means 8, or with a deadline as many as fit before it.
	MaxAttempts int
	// InitialBackoff is 100 ms where it is 0.
	InitialBackoff time.Duration
	// MaxBackoff is 5 s where it is 0.
	MaxBackoff time.Duration
}

// RetryNotice is told before every further attempt: the events so far belong to an attempt that broke.
type RetryNotice struct {
	// Attempt is the number of the attempt about to start: 2 for the first retry.
	Attempt int
	// Delay is the wait before it.
	Delay time.Duration
	// Err is why the attempt before it broke.
	Err *Error
}

const (
	attemptsMax    = 8
	initialBackoff = 100 * time.Millisecond
	maxBackoff     = 5 * time.Second
	// A source that is slow, and not a pause, would time out again and again.
	idleRetries = 1
)

// attempts is the state of one call with its retries.
type attempts struct {
	retry        *Retry
	giveUpAt     time.Time // zero without a deadline
	number       int
	idleTimeouts int
	now          func() time.Time
	random       func() float64
}

func newAttempts(ctx context.Context, retry *Retry) *attempts {
	giveUpAt, _ := ctx.Deadline()
	return &attempts{retry: retry, giveUpAt: giveUpAt, number: 1, now: time.Now, random: rand.Float64}
}

// failed returns the wait before the next attempt, and false where none may follow.
func (a *attempts) failed(failure *Error) (time.Duration, bool) {
	if a.retry == nil || !isBroken(failure) {
		return 0, false
	}
	limit := a.retry.MaxAttempts
	if limit == 0 && a.giveUpAt.IsZero() {
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
	// Nothing could be done in what would be left after the wait: the reason is worth more than the time.
	if !a.giveUpAt.IsZero() && delay >= a.giveUpAt.Sub(a.now()) {
		return 0, false
	}
	a.number++
	return delay, true
}

// backoff has full jitter, so that clients refused together do not come back together.
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

// What the transport says where it could not put a reset down to the connection. The server's own errors have a reason.
var reset = regexp.MustCompile(`RST_STREAM|connection reset|error reading from server|stream terminated`)

// isBroken says whether the connection or the server went away or was paused, or the server asked to come back later.
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
