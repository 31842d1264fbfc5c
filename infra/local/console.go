package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// handlerOutput is the category of the lines that the handler prints.
const handlerOutput = "Host.Function.Console"

// console writes a host's log for people: the handler's own lines as they came, the host's with their level.
type console struct {
	mu    *sync.Mutex
	out   io.Writer
	attrs []slog.Attr
}

func newConsole(out io.Writer) *slog.Logger {
	return slog.New(&console{mu: &sync.Mutex{}, out: out})
}

// Enabled implements slog.Handler. Which lines exist is host.json's decision.
func (c *console) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (c *console) Handle(_ context.Context, r slog.Record) error {
	category, rest := "", &strings.Builder{}
	add := func(a slog.Attr) bool {
		if a.Key == "category" {
			category = a.Value.String()
		} else {
			_, _ = fmt.Fprintf(rest, " %s=%v", a.Key, a.Value) // a builder never fails
		}
		return true
	}
	for _, a := range c.attrs {
		add(a)
	}
	r.Attrs(add)
	line := fmt.Sprintf("[%s] %s %s%s\n", r.Time.Format("15:04:05"), r.Level, r.Message, rest)
	if category == handlerOutput && r.Level == slog.LevelInfo {
		line = r.Message + "\n" // it has a time and a level of its own
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := io.WriteString(c.out, line)
	return err
}

// WithAttrs implements slog.Handler.
func (c *console) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &console{mu: c.mu, out: c.out, attrs: append(c.attrs[:len(c.attrs):len(c.attrs)], attrs...)}
}

// WithGroup implements slog.Handler; the host uses no groups, and a line for people needs none.
func (c *console) WithGroup(string) slog.Handler { return c }
