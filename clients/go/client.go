// Package salad streams radiographs to a salad-serve server and reads their anomaly scores while they are being sent.
//
// It is research software: scores rank and highlight, they never claim a diagnosis.
package salad

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

// Client has one connection to each address of its target. Goroutines may share it.
type Client struct {
	connection *grpc.ClientConn
	scoring    saladv1.AnomalyScoringClient
	registry   saladv1.ModelRegistryClient
	health     grpc_health_v1.HealthClient
	settings   settings
}

// New makes a client for a target such as "localhost:50051", "dns:///salad-headless:50051" or
// "ipv4:10.0.0.1:50051,10.0.0.2:50051"; acquisitions use the addresses in turn. No connection is opened before the
// first call. Close ends the connections.
func New(target string, options ...Option) (*Client, error) {
	settings := defaultSettings()
	for _, option := range options {
		option(&settings)
	}
	dialOptions, err := settings.dialOptions()
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient(target, dialOptions...)
	if err != nil {
		return nil, err
	}
	return &Client{
		connection: connection,
		scoring:    saladv1.NewAnomalyScoringClient(connection),
		registry:   saladv1.NewModelRegistryClient(connection),
		health:     grpc_health_v1.NewHealthClient(connection),
		settings:   settings,
	}, nil
}

// Close ends the connections and the calls that run on them.
func (c *Client) Close() error {
	return c.connection.Close()
}

// Models returns the loaded models by name, then version.
func (c *Client) Models(ctx context.Context) ([]*saladv1.Model, error) {
	ctx, cancel, err := c.call(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	response, err := c.registry.List(ctx, &saladv1.ModelRegistryListRequest{})
	if err != nil {
		return nil, errorOf(ctx, err)
	}
	return response.GetModels(), nil
}

// Model returns one loaded model; version 0 means the highest. An unknown one is an *Error with Code NotFound.
func (c *Client) Model(ctx context.Context, name string, version uint32) (*saladv1.Model, error) {
	ctx, cancel, err := c.call(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	selector := &saladv1.ModelSelector{Name: name}
	if version != 0 {
		selector.Version = &version
	}
	response, err := c.registry.Get(ctx, &saladv1.ModelRegistryGetRequest{Model: selector})
	if err != nil {
		return nil, errorOf(ctx, err)
	}
	return response.GetModel(), nil
}

// Health returns the state of a service of the server, "" for the server itself. The state of a service that the server
// does not have is SERVICE_UNKNOWN.
func (c *Client) Health(ctx context.Context, service string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) {
	ctx, cancel, err := c.call(ctx)
	if err != nil {
		return grpc_health_v1.HealthCheckResponse_UNKNOWN, err
	}
	defer cancel()
	response, err := c.health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
	if err != nil {
		if failure := errorOf(ctx, err); failure.Code != codes.NotFound {
			return grpc_health_v1.HealthCheckResponse_UNKNOWN, failure
		}
		return grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN, nil
	}
	return response.GetStatus(), nil
}

// call returns the context of a call of one attempt.
func (c *Client) call(ctx context.Context) (context.Context, context.CancelFunc, error) {
	ctx, cancel := c.withTimeout(ctx)
	ctx, err := c.withCredentials(ctx)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return ctx, cancel, nil
}

// withTimeout adds the client's deadline.
func (c *Client) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.settings.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.settings.timeout)
}

// withCredentials adds the credentials, read for every attempt.
func (c *Client) withCredentials(ctx context.Context) (context.Context, error) {
	pairs, err := c.settings.credentials(ctx)
	if err != nil {
		return nil, err
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...), nil
}
