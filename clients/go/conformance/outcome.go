package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	salad "github.com/salad-serve/salad-serve/clients/go"
	saladv1 "github.com/salad-serve/salad-serve/clients/go/salad/v1"
)

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
