// A real OpenTelemetry collector: OTLP over HTTP in, one JSON document per batch of spans out.
// Usage: otel-collector ADDRESS FILE. It prints "ready" when it listens and ends with SIGTERM.
package main

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

const configuration = `yaml:
receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
exporters: {lines: {}}
service:
  telemetry: {metrics: {level: none}, logs: {level: error}}
  pipelines: {traces: {receivers: [otlp], exporters: [lines]}}
`

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: otel-collector ADDRESS FILE"))
	}
	file, err := os.OpenFile(os.Args[2], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fail(err)
	}
	collector, err := otelcol.NewCollector(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "otel-collector", Version: "0"},
		Factories: func() (otelcol.Factories, error) { return factories(file) },
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				URIs:              []string{fmt.Sprintf(configuration, os.Args[1])},
				ProviderFactories: []confmap.ProviderFactory{yamlprovider.NewFactory()},
			},
		},
	})
	if err != nil {
		fail(err)
	}
	if err := collector.Run(context.Background()); err != nil {
		fail(err)
	}
}

func factories(file *os.File) (otelcol.Factories, error) {
	receivers, err := otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	exporters, err := otelcol.MakeFactoryMap[exporter.Factory](linesExporter(file))
	return otelcol.Factories{
		Receivers: receivers,
		Exporters: exporters,
		Telemetry: otelconftelemetry.NewFactory(),
	}, err
}

// linesExporter writes each batch as one line of OTLP JSON.
func linesExporter(file *os.File) exporter.Factory {
	create := func(context.Context, exporter.Settings, component.Config) (exporter.Traces, error) {
		return &lines{file: file}, nil
	}
	return exporter.NewFactory(
		component.MustNewType("lines"),
		func() component.Config { return &struct{}{} },
		exporter.WithTraces(create, component.StabilityLevelDevelopment),
	)
}

type lines struct {
	component.StartFunc
	component.ShutdownFunc
	file *os.File
}

func (l *lines) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (l *lines) ConsumeTraces(_ context.Context, traces ptrace.Traces) error {
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(traces)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(text, '\n'))
	return err
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
