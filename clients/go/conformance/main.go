// Command conformance is the Go client as a subject of the conformance suite: one JSON case a line in, one outcome a line
// out; test/slow/clients/conformance/protocol.ts says what they have.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"reflect"
	"sync"

	salad "github.com/salad-serve/salad-serve/clients/go"
)

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
