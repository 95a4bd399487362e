package salad_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	salad "github.com/salad-serve/salad-serve/clients/go"
	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

const rows, columns, band = 256, 256, 16

var fence = regexp.MustCompile("(?s)```go\n(.*?)```")

// What the README shows stands, line by line, in this file, and is run here.
func TestTheReadmeShowsWhatRuns(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("documentation_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := fence.FindAllStringSubmatch(string(readme), -1)
	if len(blocks) != 5 {
		t.Errorf("%d blocks", len(blocks))
	}
	run := trimmed(string(source))
	for _, block := range blocks {
		shown := strings.ReplaceAll(trimmed(block[1]), `"localhost:50051"`, "address")
		if !strings.Contains(run, shown) {
			t.Errorf("not run:\n%s", block[1])
		}
	}
}

func trimmed(text string) string {
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func shipped(t *testing.T) *server {
	models, err := filepath.Abs("../../models")
	if err != nil {
		t.Fatal(err)
	}
	return newServer(t, map[string]any{"flags": map[string]any{"models": models}})
}

func readOut(_ context.Context, first, count int) ([]uint16, error) {
	samples := make([]uint16, count*columns)
	for i := range samples {
		samples[i] = uint16((first*columns+i)*7919) % 4096
	}
	return samples, nil
}

func TestTheReadmeRuns(t *testing.T) {
	address := shipped(t).address
	pixels, _ := readOut(t.Context(), 0, rows)
	patches, reports := 0, 0
	highlight := func(some []*saladv1.PatchScore) { patches += len(some) }
	report := func(*saladv1.AcquisitionAggregate) { reports++ }
	one := func(ctx context.Context) error {
		client, err := salad.New(address)
		if err != nil {
			return err
		}
		defer client.Close()

		header := &saladv1.AcquisitionHeader{
			Model: &saladv1.ModelSelector{Name: "phantom"},
			Image: salad.FormatOf(pixels, columns), // pixels []uint16, row by row
		}
		header.Image.BitsStored = 12
		result, err := client.Score(ctx, header, salad.Image(pixels, columns))
		if err != nil {
			return err
		}
		fmt.Println(result.Aggregate.GetDecision(), result.Aggregate.GetPValue())
		fmt.Println(result.Scores().At(3, 4)) // float32; NaN where nothing was scored

		source := salad.Once(func(ctx context.Context, accepted *saladv1.AcquisitionAccepted) iter.Seq2[salad.Chunk, error] {
			return func(yield func(salad.Chunk, error) bool) {
				for first := 0; first < rows; first += band {
					samples, err := readOut(ctx, first, band)
					if !yield(salad.RowsOf(first, samples), err) || err != nil {
						return
					}
				}
			}
		})
		for event, err := range client.Stream(ctx, header, source) {
			if err != nil {
				return err
			}
			highlight(event.Patches)
			if event.Aggregate != nil {
				report(event.Aggregate)
			}
		}
		if patches != len(result.Patches) || reports != 1 {
			return fmt.Errorf("%d patches, %d reports", patches, reports)
		}
		return again(ctx, client, header, source)
	}
	if err := one(t.Context()); err != nil {
		t.Error(err)
	}
}

func again(ctx context.Context, client *salad.Client, header *saladv1.AcquisitionHeader, source salad.Source) error {
	header.Model.Name = "unknown"
	show, forget := func(salad.Event) {}, func(int) {}
	result, err := client.Score(ctx, header, source,
		salad.OnEvent(show),
		salad.OnRetry(func(notice salad.RetryNotice) { forget(notice.Attempt) }), // events so far are of a broken attempt
	)
	failure := new(salad.Error)
	if errors.As(err, &failure) && failure.Reason == "MODEL_NOT_FOUND" {
		fmt.Println(failure.Code, failure.Violations, failure.RetryAfter)
	}
	if failure.Reason != "MODEL_NOT_FOUND" {
		return fmt.Errorf("%v, %w", result, err)
	}
	return nil
}

func TestTheReadmeConnects(t *testing.T) {
	authorities := x509.NewCertPool()
	currentToken := func(context.Context) (string, error) { return "token", nil }
	client, err := salad.New("dns:///salad-headless:50051",
		salad.WithTLS(&tls.Config{RootCAs: authorities}),
		salad.WithToken(func(ctx context.Context) (string, error) { return currentToken(ctx) }), // or WithAPIKey
		salad.WithTimeout(30*time.Second),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheExamplesRun(t *testing.T) {
	address, folder := shipped(t).address, t.TempDir()
	file := filepath.Join(folder, "image.png")
	if err := os.WriteFile(file, encoded(t, picture(3)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, example := range []struct {
		arguments []string
		printed   string
	}{
		{[]string{"score_files", address, "phantom", file}, `: (normal|anomalous), p = 0\.\d{4}\n`},
		{[]string{"stream_detector", address, "phantom"}, `^accepted by phantom(?s).*patch scores\n.* 256 patches scored\n$`},
	} {
		name := example.arguments[0]
		build := exec.CommandContext(t.Context(), "go", "build", "-o", folder, "./examples/"+name)
		if printed, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, printed)
		}
		run := exec.CommandContext(t.Context(), filepath.Join(folder, name), example.arguments[1:]...)
		printed, err := run.CombinedOutput()
		if err != nil || !regexp.MustCompile(example.printed).Match(printed) {
			t.Errorf("%s: %v\n%s", name, err, printed)
		}
		arguments := append([]string{address, "nobody"}, example.arguments[3:]...)
		refused, err := exec.CommandContext(t.Context(), filepath.Join(folder, name), arguments...).CombinedOutput()
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) || exit.ExitCode() != 1 ||
			!regexp.MustCompile(`^\S[^:\n]*: model nobody is not loaded; loaded: [^\n]*\n$`).Match(refused) {
			t.Errorf("%s: %v\n%s", name, err, refused)
		}
	}
}
