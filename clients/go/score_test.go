package salad_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"image"
	"image/png"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	salad "github.com/salad-serve/salad-serve/clients/go"
	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

type accepted = *saladv1.AcquisitionAccepted
type chunks = iter.Seq2[salad.Chunk, error]

func scoresOf(t *testing.T, client *salad.Client, header *saladv1.AcquisitionHeader, source salad.Source) []float32 {
	t.Helper()
	result, err := client.Score(t.Context(), header, source)
	if err != nil {
		t.Fatal(err)
	}
	return result.Scores().Values
}

func TestEveryKindOfSourceGivesOneResult(t *testing.T) {
	client, pixels := newClient(t, shared.address), picture(3)
	given := func(context.Context, accepted) chunks {
		return func(yield func(salad.Chunk, error) bool) {
			for _, band := range bands(pixels) {
				if !yield(band, nil) {
					return
				}
			}
		}
	}
	expected := scoresOf(t, client, header(salad.FormatOf(pixels, side)), salad.Image(pixels, side))
	if len(expected) != cells || slices.ContainsFunc(expected, func(score float32) bool { return math.IsNaN(float64(score)) }) {
		t.Fatalf("scores: %v", expected)
	}
	for _, source := range []salad.Source{salad.Chunks(bands(pixels)...), salad.Replayable(given), salad.Once(given)} {
		if got := scoresOf(t, client, header(salad.FormatOf(pixels, side)), source); !slices.Equal(got, expected) {
			t.Errorf("scores differ: %v, %v", got, expected)
		}
	}
}

func TestEventsComeWhileItSends(t *testing.T) {
	client, pixels := newClient(t, shared.address), picture(3)
	var order []string
	patches := map[[2]uint32]bool{}
	for event, err := range client.Stream(t.Context(), header(salad.FormatOf(pixels, side)), salad.Image(pixels, side)) {
		switch {
		case err != nil:
			t.Fatal(err)
		case event.Accepted != nil:
			order = append(order, "accepted")
		case event.Aggregate != nil:
			order = append(order, "aggregate")
		}
		for _, patch := range event.Patches {
			patches[[2]uint32{patch.GetRow(), patch.GetColumn()}] = true
		}
	}
	if !slices.Equal(order, []string{"accepted", "aggregate"}) || len(patches) != cells {
		t.Errorf("%v, %d patches", order, len(patches))
	}
}

func TestResultTellsWhatWasAskedFor(t *testing.T) {
	client, pixels := newClient(t, shared.address), picture(3)
	asked := header(salad.FormatOf(pixels, side))
	asked.AcquisitionId = "study-17"
	asked.Options = &saladv1.ScoringOptions{AnomalyMap: saladv1.AnomalyMapFormat_ANOMALY_MAP_FORMAT_FLOAT32}
	result, err := client.Score(t.Context(), asked, salad.Image(pixels, side))
	if err != nil {
		t.Fatal(err)
	}
	if result.Aggregate.GetAcquisitionId() != "study-17" || asked.GetSource() != saladv1.Source_SOURCE_UNSPECIFIED {
		t.Errorf("the header was changed, or its ID was: %v", asked)
	}
	values, err := result.AnomalyMap()
	if err != nil || values.Rows != side || values.Columns != side || len(values.Values) != side*side {
		t.Errorf("map: %v, %d × %d", err, values.Rows, values.Columns)
	}
	top := result.Aggregate.GetTopPatches()[0]
	if z := result.RobustZ(); z.At(int(top.GetRow()), int(top.GetColumn())) != slices.Max(z.Values) {
		t.Errorf("the top patch %v has not the highest z", top)
	}
	for _, p := range result.PValues().Values {
		if !(p > 0 && p <= 1) {
			t.Errorf("p-value %v", p)
		}
	}
	asked.Options = &saladv1.ScoringOptions{PatchScores: new(bool)}
	if result, err = client.Score(t.Context(), asked, salad.Image(pixels, side)); err != nil {
		t.Fatal(err)
	}
	if _, err := result.AnomalyMap(); err == nil || len(result.Patches) != 0 || !math.IsNaN(float64(result.Scores().At(0, 0))) {
		t.Errorf("patches that were not requested: %d, %v", len(result.Patches), err)
	}
}

func TestStoredValuesOfEveryTypeScoreAlike(t *testing.T) {
	client, eight := newClient(t, shared.address), picture(3)
	window := func(form *saladv1.ImageFormat, center float64) *saladv1.AcquisitionHeader {
		form.BitsStored = 12
		form.Voi = &saladv1.VoiTransform{Transform: &saladv1.VoiTransform_Window{Window: &saladv1.VoiWindow{
			Center: center, Width: 4096, Function: saladv1.VoiFunction_VOI_FUNCTION_LINEAR_EXACT,
		}}}
		return header(form)
	}
	unsigned, signed := make([]uint16, len(eight)), make([]int16, len(eight))
	for i, value := range eight {
		unsigned[i], signed[i] = uint16(value)*16, int16(value)*16-2048
	}
	if form := salad.FormatOf(signed, side); !form.GetIsSigned() || form.GetBitsAllocated() != 16 || form.GetRows() != side {
		t.Errorf("format: %v", form)
	}
	if form := salad.FormatOf(eight, side); form.GetIsSigned() || form.GetBitsAllocated() != 8 {
		t.Errorf("format: %v", form)
	}
	expected := scoresOf(t, client, window(salad.FormatOf(unsigned, side), 2048), salad.Image(unsigned, side))
	if got := scoresOf(t, client, window(salad.FormatOf(signed, side), 0), salad.Image(signed, side)); !slices.Equal(got, expected) {
		t.Errorf("scores differ: %v, %v", got, expected)
	}
}

func TestPixelsThatAreNoWholeRowsPanic(t *testing.T) {
	for name, make := range map[string]func(){
		"image":  func() { salad.Image(picture(1), 63) },
		"format": func() { salad.FormatOf([]uint16{}, 4) },
	} {
		func() {
			defer func() {
				if said, _ := recover().(string); !strings.Contains(said, "whole rows") {
					t.Errorf("%s: %v", name, said)
				}
			}()
			make()
		}()
	}
}

func TestTilesScoreAsRows(t *testing.T) {
	client, pixels := newClient(t, shared.address), picture(5)
	display := make([]float32, len(pixels))
	for i, pixel := range pixels {
		display[i] = float32(pixel)
	}
	for _, shape := range []struct {
		model         string
		rows, columns int
	}{{"small", side, side}, {"padded", side, side / 2}} {
		some, values := pixels[:shape.rows*shape.columns], display[:shape.rows*shape.columns]
		asked := header(salad.FormatOf(some, shape.columns))
		asked.Model.Name = shape.model
		expected := scoresOf(t, client, asked, salad.Image(some, shape.columns))
		asked.Source, asked.Image.BitsAllocated, asked.Image.BitsStored = saladv1.Source_SOURCE_TILES, 32, 8
		cut := salad.Replayable(func(_ context.Context, accepted accepted) chunks { return salad.DisplayTiles(accepted, values) })
		if got := scoresOf(t, client, asked, cut); !same(got, expected) {
			t.Errorf("%s: scores differ: %v, %v", shape.model, got, expected)
		}
		wrong := salad.Replayable(func(_ context.Context, accepted accepted) chunks { return salad.DisplayTiles(accepted, values[1:]) })
		if _, err := client.Score(t.Context(), asked, wrong); err == nil || !strings.Contains(err.Error(), "display values") {
			t.Errorf("%s: %v", shape.model, err)
		}
	}
}

// same is slices.Equal, except that NaN is NaN.
func same(one, other []float32) bool {
	return slices.EqualFunc(one, other, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}

// encoded returns pixels as a PNG file.
func encoded(t *testing.T, pixels []uint8) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := png.Encode(&file, &image.Gray{Pix: pixels, Stride: side, Rect: image.Rect(0, 0, side, side)}); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestFilesScoreAsTheirPixels(t *testing.T) {
	client, pixels := newClient(t, shared.address), picture(3)
	file := encoded(t, pixels)
	result, err := client.ScoreImage(t.Context(), header(nil), file)
	if err != nil {
		t.Fatal(err)
	}
	if expected := scoresOf(t, client, header(salad.FormatOf(pixels, side)), salad.Image(pixels, side)); !slices.Equal(result.Scores().Values, expected) {
		t.Error("scores differ")
	}
	_, err = client.ScoreImage(t.Context(), header(nil), file[:100])
	if failure := new(salad.Error); !errors.As(err, &failure) || failure.Reason != "IMAGE_UNREADABLE" {
		t.Errorf("%v", err)
	}
}

func TestModelsAndHealth(t *testing.T) {
	client := newClient(t, shared.address)
	models, err := client.Models(t.Context())
	if err != nil || len(models) != 4 || models[0].GetIdentity().GetName() != "padded" {
		t.Fatalf("%v, %v", models, err)
	}
	for version, expected := range map[uint32]uint32{0: 2, 1: 1} {
		if model, err := client.Model(t.Context(), "small", version); err != nil || model.GetIdentity().GetVersion() != expected {
			t.Errorf("%v, %v", model, err)
		}
	}
	_, err = client.Model(t.Context(), "nobody", 0)
	failure := new(salad.Error)
	if !errors.As(err, &failure) || failure.Code != codes.NotFound || failure.Reason != "MODEL_NOT_FOUND" || status.Code(err) != codes.NotFound {
		t.Errorf("%v", err)
	}
	for service, expected := range map[string]grpc_health_v1.HealthCheckResponse_ServingStatus{
		"":                        grpc_health_v1.HealthCheckResponse_SERVING,
		"salad.v1.AnomalyScoring": grpc_health_v1.HealthCheckResponse_SERVING,
		"nobody":                  grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN,
	} {
		if state, err := client.Health(t.Context(), service); err != nil || state != expected {
			t.Errorf("%q: %v, %v", service, state, err)
		}
	}
}

func TestErrorsNameTheFieldsAtFault(t *testing.T) {
	client, pixels := newClient(t, shared.address), picture(3)
	form := salad.FormatOf(pixels, side)
	form.Rows = 0
	_, err := client.Score(t.Context(), header(form), salad.Image(pixels, side))
	failure := new(salad.Error)
	if !errors.As(err, &failure) || failure.Code != codes.InvalidArgument || failure.Reason != "HEADER_INVALID" ||
		len(failure.Violations) != 1 || failure.Violations[0].Field != "header.image.rows" || failure.RetryAfter != nil {
		t.Errorf("%#v", err)
	}
	if !strings.Contains(err.Error(), "HEADER_INVALID") {
		t.Errorf("%v", err)
	}
	wrong := header(salad.FormatOf(pixels, side))
	wrong.AcquisitionId = "\xff"
	if _, err := client.Score(t.Context(), wrong, salad.Image(pixels, side)); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("%v", err)
	}
}

func TestGoroutinesShareAClient(t *testing.T) {
	client := newClient(t, shared.address)
	var waiting sync.WaitGroup
	for seed := range uint64(8) {
		pixels := picture(seed)
		alone := scoresOf(t, client, header(salad.FormatOf(pixels, side)), salad.Image(pixels, side))
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			for range 5 {
				result, err := client.Score(t.Context(), header(salad.FormatOf(pixels, side)), salad.Image(pixels, side))
				if err != nil || !slices.Equal(result.Scores().Values, alone) {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		}()
	}
	waiting.Wait()
}

func TestTLSAndCredentials(t *testing.T) {
	secured := newServer(t, map[string]any{"tls": true, "apiKeys": true})
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM([]byte(secured.answer["ca"].(string))) {
		t.Fatal("no authority")
	}
	trusted := salad.WithTLS(&tls.Config{RootCAs: authorities})
	known := newClient(t, secured.address, trusted, salad.WithAPIKey(secured.answer["apiKey"].(string)))
	if _, err := known.Models(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := newClient(t, secured.address, trusted).Models(t.Context())
	if failure := new(salad.Error); !errors.As(err, &failure) || failure.Reason != "CREDENTIALS_MISSING" {
		t.Errorf("%v", err)
	}
	_, err = newClient(t, secured.address, salad.WithTLS(&tls.Config{})).Models(t.Context())
	if failure := new(salad.Error); !errors.As(err, &failure) || failure.Code != codes.Unavailable {
		t.Errorf("%v", err)
	}
}

func TestTheTokenIsAskedForEveryCall(t *testing.T) {
	secured := newServer(t, map[string]any{"tokens": true})
	good, expired := secured.answer["token"].(string), secured.answer["expiredToken"].(string)
	tokens := []string{good, expired, good}
	refused := errors.New("no token today")
	client := newClient(t, secured.address, salad.WithToken(func(context.Context) (string, error) {
		if len(tokens) == 0 {
			return "", refused
		}
		token := tokens[0]
		tokens = tokens[1:]
		return token, nil
	}))
	if _, err := client.Models(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := client.Models(t.Context())
	if failure := new(salad.Error); !errors.As(err, &failure) || failure.Reason != "CREDENTIALS_INVALID" {
		t.Errorf("%v", err)
	}
	pixels := picture(3)
	scoresOf(t, client, header(salad.FormatOf(pixels, side)), salad.Image(pixels, side))
	if _, err := client.Models(t.Context()); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
}
