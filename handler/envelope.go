package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// maxEnvelope bounds the body of one invocation. The largest legitimate one is a full batch of queued orders:
// 1,000 messages of 12 KiB are 16 MiB in base64, and decoding holds about three copies at once.
const maxEnvelope = 32 << 20

// triggers serves the functions that the host calls with a JSON envelope: timers and Service Bus.
//
// Every call is answered. A 2xx without a JSON object makes the host wait until functionTimeout and then kill
// the process with everything in flight, and anything but 2xx makes the message come back at once.
type triggers struct {
	logger *slog.Logger
	// deadline ends one invocation's context. It is well below functionTimeout, which is enforced by SIGKILL.
	deadline time.Duration
}

// handler serves POST /{f.Function}. Its answer settles the trigger: {} completes the message or batch, 500 gives it
// back. Success writes no log line, since the host copies stdout line by line.
func (t triggers) handler(f trigger, run func(context.Context, invocation) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Envelope calls never carry these headers and proxied ones always do: this one is from the public.
		if len(r.Header.Values("X-Ms-Invocation-Id")) > 0 || len(r.Header.Values("X-Forwarded-Host")) > 0 {
			refuse(w, http.StatusNotFound, "There is nothing at this address.")
			return
		}
		w.Header().Del("Connection") // the host's own envelopes come in chunks, and many of them
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			refuse(w, http.StatusMethodNotAllowed, "Triggers are called with POST.")
			return
		}
		id := r.Header.Get("X-Azure-Functions-InvocationId")
		ctx, cancel := context.WithTimeout(r.Context(), t.deadline)
		defer cancel()
		u := &unit{invocation: id, function: f.Function, began: time.Now()}
		ctx = context.WithValue(ctx, unitKey{}, u)
		err := t.invoke(ctx, w, r, invocation{ID: id, Function: f.Function, Source: cmp.Or(f.Topic, f.Queue)}, run)
		u.tell(ctx, t.logger, f.Timer != "", err)
		if err != nil {
			t.logger.ErrorContext(ctx, "trigger failed", "function", f.Function, "error", err)
			text := "the invocation failed; its cause is in the log"
			var envelope *envelopeError
			if errors.As(err, &envelope) {
				text = envelope.Error()
			}
			answer(w, http.StatusInternalServerError, "application/json", map[string]string{"error": text})
			return
		}
		answer(w, http.StatusOK, "application/json", struct{}{})
	})
}

// invoke reads the envelope and runs the function; a panic is an error like any other.
func (t triggers) invoke(
	ctx context.Context, w http.ResponseWriter, r *http.Request, in invocation,
	run func(context.Context, invocation) error,
) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEnvelope))
	// The server's deadlines are a request's. An invocation has its own: past the server's, its context would end and its
	// answer could not be sent.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Time{}) // of a test's recorder there is none
	_ = conn.SetWriteDeadline(time.Now().Add(t.deadline + 10*time.Second))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return &envelopeError{"body", fmt.Sprintf("is larger than %d bytes: lower maxMessageBatchSize in host.json", maxEnvelope)}
		}
		return fmt.Errorf("reading the invocation: %w", err)
	}
	if err := in.decode(raw); err != nil {
		return err
	}
	if err := run(ctx, in); err != nil {
		return fmt.Errorf("running %s: %w", in.Function, err)
	}
	return nil
}

func refuse(w http.ResponseWriter, status int, detail string) {
	answer(w, status, "application/problem+json", map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail,
	})
}

// answer writes v, which is always one of the small values above, so neither step has an error worth telling:
// encoding can't fail, and a host that hung up has nobody to tell.
func answer(w http.ResponseWriter, status int, contentType string, v any) {
	body, _ := json.Marshal(v)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
