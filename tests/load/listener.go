package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/jsonread"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// What the machine was doing when an event was committed.
const (
	idle     = "idle"
	busy     = "busy"
	topicBar = 300.0 // ms: what the p99 is held against
)

var eventTitles = map[string]string{idle: "20 orders a second", busy: "orders at full speed"}

// listenerSettings say whom to listen to, and where to tell of it.
type listenerSettings struct {
	Port       int
	Connection string
}

// listener is a subscriber of the topic that remembers what it heard, in a process of its own.
type listener struct {
	mu        sync.Mutex
	during    string
	latencies map[string]*hdrhistogram.Histogram
	heard     []heard
	ids       map[uuid.UUID]bool
	err       error
}

// heard is an event that came, in the order in which it came.
type heard struct {
	id, aggregate uuid.UUID
	sequence      int64
}

// serveListener listens to the topic and answers what it has heard: GET /count, /latencies and /heard; POST /during
// names what the machine does from now on.
func serveListener(ctx context.Context, in io.Reader) error {
	var s listenerSettings
	port, err := listenFor(ctx, in, &s, &s.Port)
	if err != nil {
		return err
	}
	client, err := azservicebus.NewClientFromConnectionString(s.Connection, nil)
	if err != nil {
		return fmt.Errorf("listening to the topic: %w", err)
	}
	receiver, err := client.NewReceiverForSubscription(servicebus.TopicOrderEvents, audience,
		&azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	if err != nil {
		return fmt.Errorf("listening to the topic: %w", err)
	}
	l := &listener{latencies: map[string]*hdrhistogram.Histogram{}, ids: map[uuid.UUID]bool{}}
	go func() {
		for ctx.Err() == nil {
			messages, err := receiver.ReceiveMessages(ctx, 500, &azservicebus.ReceiveMessagesOptions{TimeAfterFirstMessage: time.Millisecond})
			l.hear(time.Now(), messages, err)
		}
	}()
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: l.handler()}
	return server.Serve(port)
}

// hear notes how long events took from their occurrence, by the database's clock, which is this machine's.
func (l *listener) hear(now time.Time, messages []*azservicebus.ReceivedMessage, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) {
		l.err = err
	}
	for _, m := range messages {
		if err := l.note(now, m.MessageID, m.Body); err != nil {
			l.err = err
		}
	}
}

func (l *listener) note(now time.Time, id string, body []byte) error {
	var event struct{ time, subject, sequence string }
	r := jsonread.New(body)
	r.Object(func(name string) {
		switch name {
		case "time":
			event.time = r.String()
		case "subject":
			event.subject = r.String()
		case "sequence":
			event.sequence = r.String()
		default:
			r.Skip()
		}
	})
	if r.Err() != nil {
		return fmt.Errorf("an event that is no JSON: %w", r.Err())
	}
	var h heard
	var errs [4]error
	h.id, errs[0] = uuid.Parse(id)
	h.aggregate, errs[1] = uuid.Parse(event.subject)
	h.sequence, errs[2] = strconv.ParseInt(event.sequence, 10, 64)
	at, err := time.Parse(time.RFC3339, event.time)
	errs[3] = err
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("event %q that is not as agreed: %w", id, err)
	}
	l.ids[h.id] = true
	l.heard = append(l.heard, h)
	if l.latencies[l.during] == nil {
		l.latencies[l.during] = newHistogram(3)
	}
	return record(l.latencies[l.during], now.Sub(at))
}

func (l *listener) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, answer func(w io.Writer, r *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if err := errors.Join(l.err, answer(w, r)); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	handle("POST /during", func(_ io.Writer, r *http.Request) error {
		l.during = r.FormValue("what")
		return nil
	})
	handle("GET /count", func(w io.Writer, _ *http.Request) error {
		_, err := fmt.Fprint(w, len(l.ids))
		return err
	})
	handle("GET /latencies", func(w io.Writer, _ *http.Request) error {
		all := map[string]*hdrhistogram.Snapshot{}
		for what, h := range l.latencies {
			all[what] = h.Export()
		}
		return json.NewEncoder(w).Encode(all)
	})
	handle("GET /heard", func(w io.Writer, _ *http.Request) error {
		lines := bufio.NewWriter(w)
		for _, h := range l.heard {
			fmt.Fprintln(lines, h.id, h.aggregate, h.sequence)
		}
		return lines.Flush()
	})
	return mux
}

// ask asks the listener of a stack.
func (s *stack) ask(ctx context.Context, method, path string, answer func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.listener+path, nil) //nolint:gosec // an address we started
	if err != nil {
		return fmt.Errorf("asking the topic's listener: %w", err)
	}
	res, err := http.DefaultClient.Do(req) //nolint:gosec // likewise
	if err != nil {
		return fmt.Errorf("asking the topic's listener: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end or failed already
	if res.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(res.Body)
		return fmt.Errorf("listening to the topic: %s", said)
	}
	return answer(res.Body)
}

// heardCount is how many events were heard, each counted once.
func (s *stack) heardCount(ctx context.Context) (n int, err error) {
	err = s.ask(ctx, http.MethodGet, "/count", func(r io.Reader) error {
		_, err := fmt.Fscan(r, &n)
		return err
	})
	return n, err
}

// during tells the listener what the machine does from now on.
func (s *stack) during(ctx context.Context, what string) error {
	return s.ask(ctx, http.MethodPost, "/during?what="+what, func(io.Reader) error { return nil })
}

// allHeard waits until every event that is stored was heard.
func (s *stack) allHeard(ctx context.Context) error {
	for deadline := time.Now().Add(s.patience); ; time.Sleep(20 * time.Millisecond) {
		var stored int
		if err := s.db.QueryRow(ctx, `SELECT count(*) `+ownEvents).Scan(&stored); err != nil {
			return fmt.Errorf("counting events: %w", err)
		}
		n, err := s.heardCount(ctx)
		switch {
		case err != nil:
			return err
		case n == stored:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("P3 is broken: %d events stored and %d heard", stored, n)
		}
	}
}

// eventLatencies are the latencies from an event's occurrence to its arrival, by what the machine did meanwhile.
func (s *stack) eventLatencies(ctx context.Context) (map[string]*hdrhistogram.Histogram, error) {
	all := map[string]*hdrhistogram.Histogram{}
	err := s.ask(ctx, http.MethodGet, "/latencies", func(r io.Reader) error {
		var snapshots map[string]*hdrhistogram.Snapshot
		if err := json.NewDecoder(r).Decode(&snapshots); err != nil {
			return fmt.Errorf("reading latencies: %w", err)
		}
		for what, snapshot := range snapshots {
			all[what] = hdrhistogram.Import(snapshot)
		}
		return nil
	})
	return all, err
}
