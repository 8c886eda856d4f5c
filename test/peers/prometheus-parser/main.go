// Reads a metrics page on standard input as Prometheus does, lints it, and prints what is in it as JSON.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// answer is what the page holds; a histogram counts as one series.
type answer struct {
	Families map[string]int `json:"families"`
	Problems []string       `json:"problems"`
}

func main() {
	page, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		fail(err)
	}
	problems, err := promlint.New(bytes.NewReader(page)).Lint()
	if err != nil {
		fail(err)
	}
	found := answer{Families: map[string]int{}, Problems: []string{}}
	for name, family := range families {
		found.Families[name] = len(family.Metric)
	}
	for _, problem := range problems {
		found.Problems = append(found.Problems, problem.Metric+": "+problem.Text)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
