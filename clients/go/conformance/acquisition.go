package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	salad "github.com/salad-serve/salad-serve/clients/go"
	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

func options(asked *caseMessage) []salad.Option {
	timeout := 30 * time.Second
	if asked.TimeoutMs != nil {
		timeout = time.Duration(*asked.TimeoutMs) * time.Millisecond
	}
	options := []salad.Option{salad.WithTimeout(timeout), salad.WithAPIKey(asked.APIKey)}
	if asked.CA != "" {
		authorities := x509.NewCertPool()
		authorities.AppendCertsFromPEM([]byte(asked.CA))
		options = append(options, salad.WithTLS(&tls.Config{RootCAs: authorities}))
	}
	if asked.MaxReceiveBytes != 0 {
		options = append(options, salad.WithMaxReceiveBytes(asked.MaxReceiveBytes))
	}
	if len(asked.Tokens) > 0 {
		options = append(options, salad.WithToken(func(context.Context) (string, error) {
			token := asked.Tokens[0]
			if len(asked.Tokens) > 1 {
				asked.Tokens = asked.Tokens[1:]
			}
			return token, nil
		}))
	}
	if asked.Retry != nil && !*asked.Retry {
		options = append(options, salad.WithRetry(nil))
	}
	return options
}

func once(client *salad.Client, asked *caseMessage) outcome {
	ctx, retries := context.Background(), 0
	switch asked.Do {
	case "health":
		state, err := client.Health(ctx, "")
		if err != nil {
			return failed(err, 0)
		}
		return outcome{"health": state.String()}
	case "models":
		models, err := client.Models(ctx)
		if err != nil {
			return failed(err, 0)
		}
		names := []string{}
		for _, model := range models {
			names = append(names, nameOf(model.GetIdentity()))
		}
		return outcome{"models": names}
	}
	header := &saladv1.AcquisitionHeader{AcquisitionId: "conformance"}
	if err := protojson.Unmarshal(asked.Header, header); err != nil {
		log.Fatal(err)
	}
	onRetry := salad.OnRetry(func(salad.RetryNotice) { retries++ })
	var result *salad.Result
	var err error
	switch {
	case asked.Pause != "":
		return paused(ctx, client, asked, header)
	case asked.Encoded != "":
		result, err = client.ScoreImage(ctx, header, read(asked.Encoded), onRetry)
	case asked.Leave == "first" || asked.Leave == "last":
		for event, failure := range client.Stream(ctx, header, sourceOf(asked, header)) {
			if failure != nil {
				return failed(failure, 0)
			}
			if asked.Leave == "first" || event.Aggregate != nil {
				return outcome{"left": true}
			}
		}
		return outcome{"raised": "no aggregate"}
	case asked.Leave == "before":
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		result, err = client.Score(cancelled, header, sourceOf(asked, header), onRetry)
		if errors.Is(err, context.Canceled) {
			return outcome{"retries": retries, "left": true}
		}
	default:
		result, err = client.Score(ctx, header, sourceOf(asked, header), onRetry)
	}
	if err != nil {
		return failed(err, retries)
	}
	return outcome{"retries": retries, "result": resultOf(result)}
}

// paused reads no event after the first until the pause is over and another acquisition of the client has ended.
func paused(ctx context.Context, client *salad.Client, asked *caseMessage, header *saladv1.AcquisitionHeader) outcome {
	var events []string
	var other outcome
	patches := 0
	result, err := client.Score(ctx, header, sourceOf(asked, header), salad.OnEvent(func(event salad.Event) {
		patches += len(event.Patches)
		if kind := kindOf(event); len(events) == 0 || events[len(events)-1] != kind {
			events = append(events, kind)
		}
		if other == nil {
			read(asked.Pause)
			more := *asked
			more.Pause, more.Header = "", asked.Also
			other = once(client, &more)
		}
	}))
	if err != nil {
		return failed(err, 0)
	}
	return outcome{"events": events, "patches": patches, "result": resultOf(result), "also": other["result"]}
}

func kindOf(event salad.Event) string {
	switch {
	case event.Accepted != nil:
		return "accepted"
	case event.Aggregate != nil:
		return "aggregate"
	}
	return "patches"
}
