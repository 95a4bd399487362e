// Command score_files scores PNG and JPEG files: score_files HOST:PORT MODEL FILE ...
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	salad "github.com/salad-serve/salad-serve/clients/go"
	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: score_files HOST:PORT MODEL FILE ...")
		os.Exit(2)
	}
	client, err := salad.New(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer client.Close()
	failed := false
	for _, file := range os.Args[3:] {
		if err := score(client, os.Args[2], file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", file, reason(err))
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// reason returns what is wrong, human-readable.
func reason(err error) string {
	refused, unread := new(salad.Error), new(fs.PathError)
	switch {
	case errors.As(err, &refused):
		return refused.Message
	case errors.As(err, &unread):
		return unread.Err.Error()
	default:
		return err.Error()
	}
}

func score(client *salad.Client, model, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	header := &saladv1.AcquisitionHeader{Model: &saladv1.ModelSelector{Name: model}}
	result, err := client.ScoreImage(context.Background(), header, content)
	if err != nil {
		return err
	}
	decision := strings.ToLower(strings.TrimPrefix(result.Aggregate.GetDecision().String(), "DECISION_"))
	fmt.Printf("%s: %s, p = %.4f\n", file, decision, result.Aggregate.GetPValue())
	for _, warning := range result.Aggregate.GetWarnings() {
		fmt.Printf("  %s\n", warning.GetMessage())
	}
	return nil
}
