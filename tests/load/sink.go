package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/company/order-catalog-service/infra/local/child"
)

// sinkSettings say where to take what handlers push.
type sinkSettings struct{ Port int }

// serveSink is a collector that takes everything over OTLP and keeps nothing, in a process of its own: what is measured
// with --trace is what tracing costs the handler.
func serveSink(ctx context.Context, in io.Reader) error {
	var s sinkSettings
	listener, err := listenFor(ctx, in, &s, &s.Port)
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)                       // a handler that died is nobody to tell
		w.Header().Set("Content-Type", "application/x-protobuf") // an empty message is the answer to all three signals
	})}
	return server.Serve(listener)
}

// startSink starts the collector, if traces are wanted, and has handlers push to it.
func (s *stack) startSink() error {
	if s.trace < 0 {
		return nil
	}
	port, err := child.FreePort()
	if err != nil {
		return err
	}
	sink, err := s.startSelf("serve-sink", sinkSettings{port}, port)
	if err != nil {
		return err
	}
	s.parts = append(s.parts, processPart("collector", sink.PID()))
	s.traced = []string{fmt.Sprintf("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", port), fmt.Sprintf("OTEL_TRACES_SAMPLER_ARG=%g", s.trace)}
	return nil
}
