package salad_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	salad "github.com/salad-serve/salad-serve/clients/go"
	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

const (
	side  = 64
	cells = 64 // patches of the models
)

// program is test/support/servers/server-program.ts of the checkout: it runs real servers with small models.
var program struct {
	sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
}

// shared is a server that most tests use.
var shared *server

func TestMain(m *testing.M) {
	root, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	command := exec.Command("node", "--import", "tsx", "test/support/servers/server-program.ts")
	command.Dir, command.Stderr = root, os.Stderr
	program.in, _ = command.StdinPipe()
	out, _ := command.StdoutPipe()
	program.out = bufio.NewReader(out)
	if err := command.Start(); err != nil {
		panic(err)
	}
	shared, err = start(map[string]any{"flags": map[string]any{"idleTimeoutMs": 20_000}})
	if err != nil {
		panic(err)
	}
	code := m.Run()
	_ = program.in.Close()
	_ = command.Wait()
	os.Exit(code)
}

func ask(do string, fields map[string]any) (map[string]any, error) {
	program.Lock()
	defer program.Unlock()
	request := map[string]any{"do": do}
	for name, value := range fields {
		request[name] = value
	}
	line, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if _, err := program.in.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	answered, err := program.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("the server program ended, its own words are above: %w", err)
	}
	var answer map[string]any
	if err := json.Unmarshal(answered, &answer); err != nil {
		return nil, err
	}
	if message, failed := answer["error"]; failed {
		return nil, fmt.Errorf("%v", message)
	}
	return answer, nil
}

type server struct {
	number  float64
	address string
	answer  map[string]any
}

func start(settings map[string]any) (*server, error) {
	answer, err := ask("start", settings)
	if err != nil {
		return nil, err
	}
	return &server{answer["server"].(float64), answer["address"].(string), answer}, nil
}

// newServer stops with its test.
func newServer(t *testing.T, settings map[string]any) *server {
	t.Helper()
	one, err := start(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = ask("stop", map[string]any{"server": one.number}) })
	return one
}

// open is the number of acquisitions that the server holds something for.
func (s *server) open(t *testing.T) int {
	t.Helper()
	answer, err := ask("budget", map[string]any{"server": s.number})
	if err != nil {
		t.Fatal(err)
	}
	return int(answer["open"].(float64))
}

func (s *server) untilOpen(t *testing.T, count int) {
	t.Helper()
	giveUp := time.Now().Add(10 * time.Second)
	for s.open(t) != count {
		if time.Now().After(giveUp) {
			t.Fatalf("the server holds %d acquisitions, not %d", s.open(t), count)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

type proxy struct {
	number  float64
	address string
}

func (s *server) proxy(t *testing.T) *proxy {
	t.Helper()
	answer, err := ask("proxy", map[string]any{"server": s.number})
	if err != nil {
		t.Fatal(err)
	}
	return &proxy{answer["proxy"].(float64), answer["address"].(string)}
}

// reset resets all connections once the client has sent that many bytes more.
func (p *proxy) reset(t *testing.T, afterBytes int) {
	t.Helper()
	if _, err := ask("reset", map[string]any{"proxy": p.number, "afterBytes": afterBytes}); err != nil {
		t.Fatal(err)
	}
}

func (p *proxy) opened(t *testing.T) int {
	t.Helper()
	answer, err := ask("proxyState", map[string]any{"proxy": p.number})
	if err != nil {
		t.Fatal(err)
	}
	return int(answer["opened"].(float64))
}

// newClient closes with its test; the shared server holds nothing afterwards.
func newClient(t *testing.T, address string, options ...salad.Option) *salad.Client {
	t.Helper()
	client, err := salad.New(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if address == shared.address {
			shared.untilOpen(t, 0)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func picture(seed uint64) []uint8 {
	random := rand.New(rand.NewPCG(seed, 0))
	pixels := make([]uint8, side*side)
	for i := range pixels {
		pixels[i] = uint8(random.UintN(256))
	}
	return pixels
}

func header(image *saladv1.ImageFormat) *saladv1.AcquisitionHeader {
	return &saladv1.AcquisitionHeader{Model: &saladv1.ModelSelector{Name: "small"}, Image: image}
}

func bands(pixels []uint8) []salad.Chunk {
	var chunks []salad.Chunk
	for row := 0; row < side; row += 8 {
		chunks = append(chunks, salad.RowsOf(row, pixels[row*side:(row+8)*side]))
	}
	return chunks
}
