package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/company/order-catalog-service/infra/local/child"
)

// collector is what a handler's telemetry goes to; "" is for --trace to say.
type collector string

// The collectors.
const (
	none  collector = "none"
	takes collector = "takes"
	hangs collector = "hangs"
)

// sinkSettings say where to take what handlers push, and whether to answer.
type sinkSettings struct {
	Port  int
	Hangs bool
}

// serveSink is a collector that takes everything over OTLP and keeps nothing, or takes connections and never answers, in a
// process of its own: what is measured is what telemetry costs the handler.
func serveSink(ctx context.Context, in io.Reader) error {
	var s sinkSettings
	listener, err := listenFor(ctx, in, &s, &s.Port)
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Hangs {
			<-r.Context().Done()
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)                       // a handler that died is nobody to tell
		w.Header().Set("Content-Type", "application/x-protobuf") // an empty message is the answer to all three signals
	})}
	return server.Serve(listener)
}

// sampled is the part of the traces that is recorded where there is a collector.
func (b *bench) sampled() float64 {
	if b.trace < 0 {
		return usualTrace
	}
	return b.trace
}

// startSink starts the collector, if one is wanted, and has handlers push to it.
func (s *stack) startSink(c collector) error {
	if c == none || c == "" && s.trace < 0 {
		return nil
	}
	port, err := child.FreePort()
	if err != nil {
		return err
	}
	sink, err := s.startSelf("serve-sink", sinkSettings{port, c == hangs}, port)
	if err != nil {
		return err
	}
	s.parts = append(s.parts, processPart("collector", sink.PID()))
	s.traced = []string{fmt.Sprintf("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", port), fmt.Sprintf("OTEL_TRACES_SAMPLER_ARG=%g", s.sampled())}
	return nil
}
