package main

import "encoding/json"

// The cases and outcomes of protocol.ts.

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
