package salad

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Servers refuse pings at shorter intervals than 10 s.
const keepaliveMin = 10 * time.Second

// Option is a setting of New.
type Option func(*settings)

type settings struct {
	tls             *tls.Config
	token           func(context.Context) (string, error)
	apiKey          string
	timeout         time.Duration
	retry           *Retry
	keepalive       time.Duration
	maxReceiveBytes int
	balancing       string
	more            []grpc.DialOption
}

func defaultSettings() settings {
	return settings{
		timeout:         60 * time.Second,
		retry:           &Retry{},
		keepalive:       30 * time.Second,
		maxReceiveBytes: 64 << 20,
		balancing:       "round_robin",
	}
}

// WithTLS connects over TLS; an empty configuration trusts the system's authorities. Without it everything is sent in
// plaintext, including tokens: use that only on loopback and in meshes that encrypt.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.tls = config }
}

// WithToken sends a bearer token; the function is called for every attempt.
func WithToken(token func(context.Context) (string, error)) Option {
	return func(s *settings) { s.token = token }
}

// WithAPIKey sends an API key.
func WithAPIKey(key string) Option {
	return func(s *settings) { s.apiKey = key }
}

// WithTimeout limits every call, including retries; 60 s is the default, 0 means none. The deadline of a call's context
// applies as well.
func WithTimeout(timeout time.Duration) Option {
	return func(s *settings) { s.timeout = timeout }
}

// WithRetry sets the retries of Score and ScoreImage; nil means that they make one attempt.
func WithRetry(retry *Retry) Option {
	return func(s *settings) { s.retry = retry }
}

// WithKeepalive sets the time between two pings while calls run; at least 10 s, which servers require, 30 s by default.
func WithKeepalive(interval time.Duration) Option {
	return func(s *settings) { s.keepalive = interval }
}

// WithMaxReceiveBytes limits an answer of the server; 64 MiB by default, because anomaly maps and embeddings are larger
// than the 4 MiB of gRPC.
func WithMaxReceiveBytes(bytes int) Option {
	return func(s *settings) { s.maxReceiveBytes = bytes }
}

// WithPickFirst uses only the first address that answers.
func WithPickFirst() Option {
	return func(s *settings) { s.balancing = "pick_first" }
}

// WithDialOptions adds options of gRPC, such as interceptors.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.more = append(s.more, options...) }
}

func (s settings) dialOptions() ([]grpc.DialOption, error) {
	if s.keepalive < keepaliveMin {
		return nil, fmt.Errorf("salad: keepalive must be at least %v: servers cut connections that ping sooner", keepaliveMin)
	}
	if s.timeout < 0 {
		return nil, fmt.Errorf("salad: timeout must not be negative: 0 means none")
	}
	transport := insecure.NewCredentials()
	if s.tls != nil {
		transport = credentials.NewTLS(s.tls)
	}
	// gRPC waits up to two minutes; a client should reconnect soon after its server restarted.
	reconnect := backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}]}`, s.balancing)),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(s.maxReceiveBytes),
			grpc.MaxCallSendMsgSize(math.MaxInt32),
		),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: s.keepalive, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 5 * time.Second}),
	}, s.more...), nil
}

// credentials returns the metadata with the credentials: keys and values in turn.
func (s settings) credentials(ctx context.Context) ([]string, error) {
	var pairs []string
	if s.token != nil {
		token, err := s.token(ctx)
		if err != nil {
			return nil, fmt.Errorf("salad: the token: %w", err)
		}
		pairs = append(pairs, "authorization", "Bearer "+token)
	}
	if s.apiKey != "" {
		pairs = append(pairs, "x-api-key", s.apiKey)
	}
	return pairs, nil
}
