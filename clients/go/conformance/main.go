// Command conformance is the Go client as a subject of the conformance suite: one JSON case a line in, one outcome a line
// out; test/slow/clients/conformance/protocol.ts says what they have.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"iter"
	"log"
	"math"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"

	salad "github.com/salad-serve/salad-serve/clients/go"
	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

type slice struct{ Offset, Length int }

type tileCase struct {
	slice
	Row, Column int
}

type chunkCase struct {
	slice
	FirstRow int
	Tiles    []tileCase
}

type caseMessage struct {
	Name, Target, CA, APIKey string
	Tokens                   []string
	TimeoutMs                *int
	Retry                    *bool
	MaxReceiveBytes          int
	Do, Encoded, Samples     string
	Leave, Pause             string
	Header, Also             json.RawMessage
	Display, Once            bool
	Chunks                   []chunkCase
	FailAfter, HoldAfter     *int
	Parallel                 int
}

// hasMore tells whether an acquisition more runs at the same time.
func (asked *caseMessage) hasMore() bool {
	return asked.Also != nil && asked.Pause == ""
}

type outcome map[string]any

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked caseMessage
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(carryOut(&asked)); err != nil {
			log.Fatal(err)
		}
	}
}

func carryOut(asked *caseMessage) outcome {
	client, err := salad.New(asked.Target, options(asked)...)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	outcomes := together(client, asked)
	if asked.hasMore() {
		last := len(outcomes) - 1
		outcomes[0]["also"] = outcomes[last]["result"]
		outcomes = outcomes[:last]
	}
	for _, one := range outcomes[1:] {
		if !reflect.DeepEqual(one, outcomes[0]) {
			outcomes[0] = outcome{"raised": "outcomes differ"}
			break
		}
	}
	outcomes[0]["name"] = asked.Name
	return outcomes[0]
}

// together carries out the acquisitions of a case at the same time; the one more comes last.
func together(client *salad.Client, asked *caseMessage) []outcome {
	var all []*caseMessage
	for range max(1, asked.Parallel) {
		all = append(all, asked)
	}
	if asked.hasMore() {
		also := *asked
		also.Header = asked.Also
		all = append(all, &also)
	}
	outcomes := make([]outcome, len(all))
	var running sync.WaitGroup
	for i, one := range all {
		running.Add(1)
		go func() {
			defer running.Done()
			outcomes[i] = once(client, one)
		}()
	}
	running.Wait()
	return outcomes
}

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

func sourceOf(asked *caseMessage, header *saladv1.AcquisitionHeader) salad.Source {
	samples := read(asked.Samples)
	if asked.Display {
		display := make([]float32, len(samples)/4)
		for i := range display {
			display[i] = math.Float32frombits(binary.LittleEndian.Uint32(samples[4*i:]))
		}
		return salad.Replayable(func(_ context.Context, accepted *saladv1.AcquisitionAccepted) iter.Seq2[salad.Chunk, error] {
			return salad.DisplayTiles(accepted, display)
		})
	}
	if asked.Chunks == nil {
		return imageOf(samples, header.GetImage())
	}
	var chunks []salad.Chunk
	for _, chunk := range asked.Chunks {
		chunks = append(chunks, chunkOf(samples, chunk))
	}
	pixels := func(ctx context.Context, _ *saladv1.AcquisitionAccepted) iter.Seq2[salad.Chunk, error] {
		return func(yield func(salad.Chunk, error) bool) {
			for i := range len(chunks) + 1 {
				if asked.FailAfter != nil && i == *asked.FailAfter {
					yield(nil, errors.New("the source failed"))
					return
				}
				if asked.HoldAfter != nil && i == *asked.HoldAfter {
					<-ctx.Done()
					return
				}
				if i < len(chunks) && !yield(chunks[i], nil) {
					return
				}
			}
		}
	}
	if asked.Once {
		return salad.Once(pixels)
	}
	return salad.Replayable(pixels)
}

// imageOf is the door for an image in memory, with the type of its samples.
func imageOf(samples []byte, form *saladv1.ImageFormat) salad.Source {
	columns := int(form.GetColumns())
	if form.GetBitsAllocated() == 8 && !form.GetIsSigned() {
		return salad.Image(samples, columns)
	}
	if form.GetIsSigned() {
		return salad.Image(sixteen[int16](samples), columns)
	}
	return salad.Image(sixteen[uint16](samples), columns)
}

func sixteen[T uint16 | int16](samples []byte) []T {
	values := make([]T, len(samples)/2)
	for i := range values {
		values[i] = T(binary.LittleEndian.Uint16(samples[2*i:]))
	}
	return values
}

func chunkOf(samples []byte, chunk chunkCase) salad.Chunk {
	cut := func(part slice) []byte { return samples[part.Offset : part.Offset+part.Length] }
	if chunk.Tiles == nil {
		return salad.Rows{FirstRow: chunk.FirstRow, Samples: cut(chunk.slice)}
	}
	var tiles salad.Tiles
	for _, tile := range chunk.Tiles {
		tiles = append(tiles, salad.Tile{Row: tile.Row, Column: tile.Column, Samples: cut(tile.slice)})
	}
	return tiles
}

func resultOf(result *salad.Result) outcome {
	aggregate := result.Aggregate
	warnings, embeddings, nearest := []string{}, 0, 0
	for _, warning := range aggregate.GetWarnings() {
		warnings = append(warnings, known(saladv1.WarningKind_name, int32(warning.GetKind()), "WARNING_KIND_"))
	}
	for _, patch := range result.Patches {
		nearest += len(patch.GetNearestPrototypes())
		if len(patch.GetEmbedding()) > 0 {
			embeddings++
		}
	}
	return outcome{
		"acquisitionId": aggregate.GetAcquisitionId(),
		"model":         nameOf(aggregate.GetModel()),
		"imageScore":    number(aggregate.GetImageScore()),
		"pValue":        number(aggregate.GetPValue()),
		"decision":      known(saladv1.Decision_name, int32(aggregate.GetDecision()), "DECISION_"),
		"scores":        encoded(result.Scores()),
		"robustZ":       encoded(result.RobustZ()),
		"scored":        aggregate.GetCoverage().GetScored(),
		"missing":       aggregate.GetCoverage().GetMissing(),
		"topPatches":    len(aggregate.GetTopPatches()),
		"warnings":      warnings,
		"map":           base64.StdEncoding.EncodeToString(aggregate.GetAnomalyMap().GetData()),
		"embeddings":    embeddings,
		"nearest":       nearest,
	}
}

// number is null for NaN, which JSON has not.
func number(value float64) any {
	if math.IsNaN(value) {
		return nil
	}
	return value
}

func known(names map[int32]string, value int32, prefix string) string {
	name, found := names[value]
	if !found {
		return "UNRECOGNIZED"
	}
	return strings.TrimPrefix(name, prefix)
}

func encoded(grid salad.Grid) string {
	var bytes []byte
	for _, value := range grid.Values {
		bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(value))
	}
	return base64.StdEncoding.EncodeToString(bytes)
}

func nameOf(model *saladv1.ModelIdentity) string {
	version, _ := json.Marshal(model.GetVersion())
	return model.GetName() + "@" + string(version)
}

func failed(err error, retries int) outcome {
	failure, isError := err.(*salad.Error)
	if !isError {
		return outcome{"retries": retries, "raised": err.Error()}
	}
	fields := []string{}
	for _, violation := range failure.Violations {
		fields = append(fields, violation.Field)
	}
	var delay any
	if failure.RetryAfter != nil {
		delay = float64(*failure.RetryAfter) / float64(time.Millisecond)
	}
	return outcome{"retries": retries, "error": outcome{
		"status": statusName(failure.Code), "reason": failure.Reason, "fields": fields, "retryAfterMs": delay,
	}}
}

// statusName writes a status as all other languages do, such as INVALID_ARGUMENT.
func statusName(code codes.Code) string {
	if code == codes.Canceled {
		return "CANCELLED"
	}
	var name strings.Builder
	for i, letter := range code.String() {
		if i > 0 && letter >= 'A' && letter <= 'Z' {
			name.WriteByte('_')
		}
		name.WriteRune(letter)
	}
	return strings.ToUpper(name.String())
}

func read(file string) []byte {
	content, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	return content
}
