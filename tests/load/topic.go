package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// What the machine was doing when an event was committed.
const (
	idle     = "idle"
	busy     = "orders at full speed"
	idlePace = 50 * time.Millisecond // between two orders of the idle phase
)

// topic is the broker of the handler under load, and who listens to it.
type topic struct {
	broker     *standin.Broker
	connection string
	listening  sync.WaitGroup

	mu        sync.Mutex
	during    string
	latencies map[string][]time.Duration
	heard     map[string]bool
	err       error
}

// startTopic starts a broker with a journal in this process, as the local stack has it, and listens.
func (s *stack) startTopic(ctx context.Context) error {
	broker, err := standin.New(standin.Options{Journal: filepath.Join(s.dir, "journal")})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() { _ = broker.Close() })
	if err := broker.LoadConfig(standin.ServiceEntities()); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("starting the broker: %w", err)
	}
	go func() { _ = broker.Serve(l) }() // a broker that ends is noticed by who listens
	t := &topic{
		broker: broker, connection: standin.ConnectionString(l.Addr().(*net.TCPAddr).Port), //nolint:forcetypeassert // it listens on tcp
		latencies: map[string][]time.Duration{}, heard: map[string]bool{},
	}
	client, err := azservicebus.NewClientFromConnectionString(t.connection, nil)
	if err != nil {
		return fmt.Errorf("listening to the topic: %w", err)
	}
	receiver, err := client.NewReceiverForSubscription(servicebus.TopicOrderEvents, servicebus.SubscriptionWebhooks,
		&azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	if err != nil {
		return fmt.Errorf("listening to the topic: %w", err)
	}
	listening, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.closers = append(s.closers, func() {
		stop()
		t.listening.Wait()
		_ = client.Close(context.WithoutCancel(ctx))
	})
	t.listening.Go(func() {
		for listening.Err() == nil {
			messages, err := receiver.ReceiveMessages(listening, 500, &azservicebus.ReceiveMessagesOptions{TimeAfterFirstMessage: time.Millisecond})
			t.hear(messages, err)
		}
	})
	s.topic = t
	return nil
}

// hear notes how long events took from their occurrence, by the database's clock, which is this machine's.
func (t *topic) hear(messages []*azservicebus.ReceivedMessage, err error) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) {
		t.err = err
	}
	for _, m := range messages {
		var event struct{ Time time.Time }
		if err := json.Unmarshal(m.Body, &event); err != nil {
			t.err = fmt.Errorf("an event that is no JSON: %w", err)
			continue
		}
		t.heard[m.MessageID] = true
		t.latencies[t.during] = append(t.latencies[t.during], now.Sub(event.Time))
	}
}

// while runs a phase, during which events count as of this kind. It waits until all of them were heard.
func (s *stack) while(ctx context.Context, kind string, run func() (result, error)) (result, error) {
	s.topic.mu.Lock()
	s.topic.during = kind
	s.topic.mu.Unlock()
	r, err := run()
	if err != nil {
		return r, err
	}
	return r, s.allHeard(ctx)
}

func (s *stack) allHeard(ctx context.Context) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var stored int
		// pgbench's rows count as sent from the start: its events go nowhere.
		if err := s.db.QueryRow(ctx, `SELECT count(*) FROM outbox WHERE traceparent IS DISTINCT FROM 'pgbench'`).Scan(&stored); err != nil {
			return fmt.Errorf("counting events: %w", err)
		}
		s.topic.mu.Lock()
		heard, err := len(s.topic.heard), s.topic.err
		s.topic.mu.Unlock()
		switch {
		case err != nil:
			return fmt.Errorf("listening to the topic: %w", err)
		case heard == stored:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%d events stored and %d heard", stored, heard)
		}
	}
}

// trickle places an order now and then, for the latency of an event that has nobody to share a batch with.
func (s *stack) trickle(ctx context.Context) (result, error) {
	var latencies []time.Duration
	began := time.Now()
	for time.Since(began) < s.duration && ctx.Err() == nil {
		sent := time.Now()
		status, err := send(http.DefaultClient, func(int) (*http.Request, error) { return s.order(ctx, 1+len(latencies)%products) }, 0)
		if err != nil || status != http.StatusCreated {
			return result{}, fmt.Errorf("placing an order: status %d: %w", status, err)
		}
		latencies = append(latencies, time.Since(sent))
		time.Sleep(idlePace)
	}
	return summarize(latencies, 0, time.Since(began))
}

// tellTopic prints how long events took to the topic, and draws it.
func (s *stack) tellTopic(out io.Writer) error {
	fmt.Fprintln(out, "\nFrom an event's occurrence in its transaction to its arrival at a subscriber of the topic:")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "machine\tevents\tp50 ms\tp95 ms\tp99 ms\tmax ms\t")
	var drawn []series
	for _, kind := range []string{idle, busy} {
		all := s.topic.latencies[kind]
		r, err := summarize(all, 0, s.duration)
		if err != nil {
			return fmt.Errorf("events while %s: %w", kind, err)
		}
		slowest := float64(slices.Max(all)) / float64(time.Millisecond)
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t\n", kind, len(all), r.p50, r.p95, r.p99, slowest)
		drawn = append(drawn, series{kind, all, r.p99})
	}
	_ = w.Flush() // what cannot be printed cannot be reported either
	if s.picture == "" {
		return nil
	}
	if err := os.WriteFile(s.picture, histogram(drawn), 0o644); err != nil { //nolint:gosec // a picture for everybody
		return fmt.Errorf("drawing: %w", err)
	}
	fmt.Fprintln(out, "Drawn in", s.picture)
	return nil
}
