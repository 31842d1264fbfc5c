package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// phase is one thing that is measured; reference names the phase that it is compared with.
type phase struct {
	name, reference string
	run             func(context.Context) (result, error)
}

// result is what a phase saw: answers as wanted per second and their latencies in milliseconds, and how many
// answers were others.
type result struct {
	rate, p50, p95, p99 float64
	accepted, refused   int
}

// summarize makes a result of the accepted answers' latencies.
func summarize(latencies []time.Duration, refused int, took time.Duration) (result, error) {
	n := len(latencies)
	if n == 0 {
		return result{}, fmt.Errorf("nothing succeeded, %d refused", refused)
	}
	slices.Sort(latencies)
	at := func(percent int) float64 {
		return float64(latencies[(n*percent+99)/100-1]) / float64(time.Millisecond)
	}
	return result{rate: float64(n) / took.Seconds(), p50: at(50), p95: at(95), p99: at(99), accepted: n, refused: refused}, nil
}

// loop keeps every connection busy for the duration: each worker sends its next request when the last one is
// answered. Requests under way at the end are awaited, so that all that was accepted is counted.
func loop(ctx context.Context, o options, want int, next func(worker int) (*http.Request, error)) (result, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: o.connections, MaxConnsPerHost: o.connections, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	var (
		all     []time.Duration
		refused int
		failed  []error
		mu      sync.Mutex
		wg      sync.WaitGroup
	)
	began := time.Now()
	for worker := range o.connections {
		wg.Go(func() {
			var latencies []time.Duration
			others := 0
			var err error
			for time.Since(began) < o.duration && ctx.Err() == nil && err == nil {
				sent := time.Now()
				var status int
				if status, err = send(client, next, worker); err == nil && status == want {
					latencies = append(latencies, time.Since(sent))
				} else if err == nil {
					others++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all, refused = append(all, latencies...), refused+others
			if err != nil {
				failed = append(failed, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(append(failed, ctx.Err())...); err != nil {
		return result{}, err
	}
	return summarize(all, refused, time.Since(began))
}

// send sends one request and reads the whole answer, without which the connection could not be used again.
func send(client *http.Client, next func(int) (*http.Request, error), worker int) (int, error) {
	req, err := next(worker)
	if err != nil {
		return 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end or failed already
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0, fmt.Errorf("reading an answer: %w", err)
	}
	return res.StatusCode, nil
}

// bareCommand makes this program the reference of product reads.
const bareCommand = "serve-bare"

// bareAnswer is what the reference sends, read from its standard input.
type bareAnswer struct {
	Port   int
	Header http.Header
	Body   []byte
}

// serveBare answers everything with the same bytes, in a process of its own as the handler is, until it is killed.
func serveBare(ctx context.Context, in io.Reader) error {
	var a bareAnswer
	if err := json.NewDecoder(in).Decode(&a); err != nil {
		return fmt.Errorf("reading what to serve: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", a.Port))
	if err != nil {
		return fmt.Errorf("serving the reference: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: a}
	return server.Serve(listener)
}

// ServeHTTP sends the answer.
func (a bareAnswer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	_, _ = w.Write(a.Body) // who left needs no answer
}
