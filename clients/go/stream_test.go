package salad_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	salad "github.com/salad-serve/salad-serve/clients/go"
	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

var errSource = errors.New("the detector stopped")

// failing gives some bands and then an error.
func failing(after int) salad.Source {
	return salad.Replayable(func(context.Context, accepted) chunks {
		return func(yield func(salad.Chunk, error) bool) {
			for _, band := range bands(picture(3))[:after] {
				if !yield(band, nil) {
					return
				}
			}
			yield(nil, errSource)
		}
	})
}

// stalling gives one band, tells that it did, and waits for the end of the acquisition.
func stalling(stalled chan<- struct{}, ended *atomic.Int32) salad.Source {
	return salad.Once(func(ctx context.Context, _ accepted) chunks {
		return func(yield func(salad.Chunk, error) bool) {
			defer ended.Add(1)
			if !yield(bands(picture(3))[0], nil) {
				return
			}
			close(stalled)
			<-ctx.Done()
			yield(nil, ctx.Err())
		}
	})
}

func form() *saladv1.ImageFormat {
	return salad.FormatOf(picture(3), side)
}

func TestTheErrorOfTheSourceIsReturned(t *testing.T) {
	client := newClient(t, shared.address)
	for _, after := range []int{0, 1, 7, 8} {
		for range 5 {
			if _, err := client.Score(t.Context(), header(form()), failing(after)); err != errSource {
				t.Fatalf("after %d bands: %v", after, err)
			}
			var last error
			for _, err := range client.Stream(t.Context(), header(form()), failing(after)) {
				last = err
			}
			if last != errSource {
				t.Fatalf("after %d bands: %v", after, last)
			}
		}
	}
}

func TestAnErrorOfAnotherCallInTheSourceIsNotRetried(t *testing.T) {
	client := newClient(t, shared.address)
	other := &salad.Error{Code: codes.Unavailable, Message: "another server"}
	calls := 0
	_, err := client.Score(t.Context(), header(form()), salad.Replayable(func(context.Context, accepted) chunks {
		calls++
		return func(yield func(salad.Chunk, error) bool) { yield(nil, other) }
	}))
	if err != error(other) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestAPanicOfTheSourceReachesTheCaller(t *testing.T) {
	client := newClient(t, shared.address)
	defer func() {
		if said := recover(); said != "no detector" {
			t.Errorf("%v", said)
		}
	}()
	_, err := client.Score(t.Context(), header(form()), salad.Once(func(context.Context, accepted) chunks { panic("no detector") }))
	t.Errorf("no panic: %v", err)
}

func TestASourceThatGivesNothingIsAnError(t *testing.T) {
	client := newClient(t, shared.address)
	if _, err := client.Score(t.Context(), header(form()), salad.Chunks(nil)); err == nil || !strings.Contains(err.Error(), "neither a chunk") {
		t.Errorf("%v", err)
	}
}

func TestLeavingTheLoopEndsTheSource(t *testing.T) {
	client := newClient(t, shared.address)
	stalled, ended := make(chan struct{}), atomic.Int32{}
	for event, err := range client.Stream(t.Context(), header(form()), stalling(stalled, &ended)) {
		if err != nil || event.Accepted == nil {
			t.Fatalf("%v, %v", event, err)
		}
		<-stalled
		break
	}
	// Not later: the source may use what the caller is about to free.
	if ended.Load() != 1 {
		t.Error("the source goes on")
	}
	shared.untilOpen(t, 0)
}

func TestLeavesNoGoroutineBehind(t *testing.T) {
	client := newClient(t, shared.address)
	scoresOf(t, client, header(form()), salad.Image(picture(3), side))
	before := runtime.NumGoroutine()
	for range 20 {
		for range client.Stream(t.Context(), header(form()), salad.Image(picture(3), side)) {
			break
		}
		if _, err := client.Score(t.Context(), header(nil), salad.Image(picture(3), side)); err == nil {
			t.Fatal("accepted without an image")
		}
	}
	giveUp := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(giveUp) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestTheContextEndsTheAcquisition(t *testing.T) {
	client := newClient(t, shared.address)
	stalled, ended := make(chan struct{}), atomic.Int32{}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-stalled
		cancel()
	}()
	_, err := client.Score(ctx, header(form()), stalling(stalled, &ended))
	failure := new(salad.Error)
	if !errors.As(err, &failure) || failure.Code != codes.Canceled || !errors.Is(err, context.Canceled) || ended.Load() != 1 {
		t.Errorf("%v, ended %d", err, ended.Load())
	}
	shared.untilOpen(t, 0)
}

func TestThereIsADeadline(t *testing.T) {
	client := newClient(t, shared.address, salad.WithTimeout(300*time.Millisecond))
	stalled, ended := make(chan struct{}), atomic.Int32{}
	began := time.Now()
	_, err := client.Score(t.Context(), header(form()), stalling(stalled, &ended))
	failure := new(salad.Error)
	if !errors.As(err, &failure) || failure.Code != codes.DeadlineExceeded || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	unbounded := newClient(t, shared.address, salad.WithTimeout(0))
	scoresOf(t, unbounded, header(form()), salad.Image(picture(3), side))
}

func TestSettingsThatServersRefuseAreErrors(t *testing.T) {
	for _, option := range []salad.Option{salad.WithKeepalive(9 * time.Second), salad.WithTimeout(-1)} {
		if _, err := salad.New(shared.address, option); err == nil {
			t.Error("taken")
		}
	}
}

func TestAnswersMayBeLargerThanGRPCAllows(t *testing.T) {
	narrow := newClient(t, shared.address, salad.WithMaxReceiveBytes(1000))
	asked := header(form())
	asked.Options = &saladv1.ScoringOptions{AnomalyMap: saladv1.AnomalyMapFormat_ANOMALY_MAP_FORMAT_FLOAT32}
	_, err := narrow.Score(t.Context(), asked, salad.Image(picture(3), side))
	if failure := new(salad.Error); !errors.As(err, &failure) || failure.Code != codes.ResourceExhausted || failure.Reason != "" {
		t.Errorf("%v", err)
	}
	large := &saladv1.ImageFormat{Rows: 1200, Columns: 1200, BitsAllocated: 8}
	asked = header(large)
	asked.Options = &saladv1.ScoringOptions{AnomalyMap: saladv1.AnomalyMapFormat_ANOMALY_MAP_FORMAT_FLOAT32, Embeddings: true}
	scoresOf(t, newClient(t, shared.address), asked, salad.Image(make([]uint8, 1200*1200), 1200))
}

func TestTheConnectionIsOpenedByTheFirstCall(t *testing.T) {
	hop := shared.proxy(t)
	one, other := newClient(t, hop.address), newClient(t, hop.address)
	if hop.opened(t) != 0 {
		t.Error("opened before the first call")
	}
	for _, client := range []*salad.Client{one, other, one} {
		if _, err := client.Models(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if count := hop.opened(t); count != 2 {
		t.Errorf("%d connections", count)
	}
}

func TestAResetInMidStreamIsSentAgain(t *testing.T) {
	client := newClient(t, newServer(t, nil).address)
	expected := scoresOf(t, client, header(form()), salad.Image(picture(3), side))
	server := newServer(t, nil)
	hop := server.proxy(t)
	broken := newClient(t, hop.address)
	scoresOf(t, broken, header(form()), salad.Image(picture(3), side))
	hop.reset(t, 2500)
	var notices []salad.RetryNotice
	result, err := broken.Score(t.Context(), header(form()), salad.Chunks(bands(picture(3))...),
		salad.OnRetry(func(notice salad.RetryNotice) { notices = append(notices, notice) }))
	if err != nil || !slices.Equal(result.Scores().Values, expected) {
		t.Fatal(err)
	}
	if len(notices) != 1 || notices[0].Attempt != 2 || notices[0].Err.Code != codes.Unavailable {
		t.Errorf("%v", notices)
	}
	// What can be read once is sent once.
	hop.reset(t, 2500)
	calls := 0
	once := salad.Once(func(context.Context, accepted) chunks {
		calls++
		return func(yield func(salad.Chunk, error) bool) {
			for _, band := range bands(picture(3)) {
				if !yield(band, nil) {
					return
				}
			}
		}
	})
	_, err = broken.Score(t.Context(), header(form()), once)
	if failure := new(salad.Error); !errors.As(err, &failure) || failure.Code != codes.Unavailable || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestAFullServerIsAskedAgainAfterItsDelay(t *testing.T) {
	full := newServer(t, map[string]any{"flags": map[string]any{"maxConcurrentAcquisitions": 1, "retryDelayMs": 40}})
	client := newClient(t, full.address)
	released := make(chan struct{})
	var holding sync.WaitGroup
	holding.Add(1)
	go func() {
		defer holding.Done()
		_, err := client.Score(t.Context(), header(form()), salad.Once(func(context.Context, accepted) chunks {
			return func(yield func(salad.Chunk, error) bool) {
				for i, band := range bands(picture(3)) {
					if i == 1 {
						<-released
					}
					if !yield(band, nil) {
						return
					}
				}
			}
		}))
		if err != nil {
			t.Error(err)
		}
	}()
	full.untilOpen(t, 1)
	impatient := newClient(t, full.address, salad.WithRetry(nil))
	_, err := impatient.Score(t.Context(), header(form()), salad.Image(picture(3), side))
	failure := new(salad.Error)
	if !errors.As(err, &failure) || failure.Reason != "OVERLOADED" || failure.RetryAfter == nil || *failure.RetryAfter != 40*time.Millisecond {
		t.Errorf("%#v", err)
	}
	retries := 0
	_, err = client.Score(t.Context(), header(form()), salad.Image(picture(3), side), salad.OnRetry(func(notice salad.RetryNotice) {
		if retries++; retries == 3 {
			close(released)
		}
		if notice.Delay < 40*time.Millisecond {
			t.Errorf("waits %v", notice.Delay)
		}
	}))
	if err != nil || retries < 3 {
		t.Errorf("%v after %d retries", err, retries)
	}
	holding.Wait()
}

func TestASourceThatDidNotBeginIsTriedAgain(t *testing.T) {
	full := newServer(t, map[string]any{"flags": map[string]any{"maxConcurrentAcquisitions": 1, "retryDelayMs": 10}})
	client := newClient(t, full.address)
	stalled, ended := make(chan struct{}), atomic.Int32{}
	ctx, cancel := context.WithCancel(t.Context())
	var holding sync.WaitGroup
	holding.Add(1)
	go func() {
		defer holding.Done()
		_, _ = client.Score(ctx, header(form()), stalling(stalled, &ended))
	}()
	<-stalled
	calls := 0
	_, err := client.Score(t.Context(), header(form()), salad.Once(func(context.Context, accepted) chunks {
		calls++
		return func(yield func(salad.Chunk, error) bool) {
			for _, band := range bands(picture(3)) {
				if !yield(band, nil) {
					return
				}
			}
		}
	}), salad.OnRetry(func(salad.RetryNotice) { cancel() }))
	holding.Wait()
	if err != nil || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	cancel()
}

func TestNoServerIsUnavailableBeforeTheDeadline(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	client := newClient(t, address, salad.WithTimeout(600*time.Millisecond))
	began := time.Now()
	_, err = client.Score(t.Context(), header(form()), salad.Image(picture(3), side))
	if failure := new(salad.Error); !errors.As(err, &failure) || failure.Code != codes.Unavailable || time.Since(began) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestAServerThatRefusesWhilePixelsAreSentSaysWhy(t *testing.T) {
	client := newClient(t, shared.address)
	for rows, expected := range map[uint32]string{0: "HEADER_INVALID", side: "SAMPLE_COUNT_MISMATCH", 65_000: "SAMPLE_COUNT_MISMATCH"} {
		for range 10 {
			asked := header(&saladv1.ImageFormat{Rows: rows, Columns: 1024, BitsAllocated: 8})
			_, err := client.Score(t.Context(), asked, salad.Chunks(slices.Repeat(bands(picture(3)), 50)...))
			if failure := new(salad.Error); !errors.As(err, &failure) || failure.Reason != expected {
				t.Fatalf("%d rows: %v", rows, err)
			}
		}
	}
}

func TestASourceWaitsForTheConnection(t *testing.T) {
	client, given := newClient(t, shared.address), 0
	wide := &saladv1.AcquisitionHeader{
		Model: &saladv1.ModelSelector{Name: "stretched"},
		Image: &saladv1.ImageFormat{Rows: 1000, Columns: 60_000, BitsAllocated: 8},
	}
	_, err := client.Score(t.Context(), wide, salad.Once(func(context.Context, accepted) chunks {
		return func(yield func(salad.Chunk, error) bool) {
			band := make([]uint8, 4*60_000)
			for yield(salad.RowsOf(4*given, band), nil) {
				given++
			}
		}
	}))
	// It ends with the row too many, long before a source that never ends has filled the memory.
	if failure := new(salad.Error); !errors.As(err, &failure) || failure.Code != codes.InvalidArgument || given < 249 || given > 400 {
		t.Errorf("%v after %d chunks", err, given)
	}
}
