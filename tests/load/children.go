package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/company/order-catalog-service/infra/local/child"
	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// children are the other processes that this program can be, each so that its processor time is not the generator's.
// What one has to know comes as JSON on its standard input; it serves until it is killed.
var children = map[string]func(context.Context, io.Reader) error{
	"serve-bare":     serveBare,
	"serve-broker":   serveBroker,
	"serve-listener": serveListener,
	"serve-host":     serveHost,
	"serve-sink":     serveSink,
}

// startSelf makes this program one of its children and waits until its port answers.
func (b *bench) startSelf(command string, settings any, port int) (*child.Process, error) {
	raw, err := json.Marshal(settings)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	cmd := exec.Command(self, command) //nolint:gosec,noctx // ourselves; ends with stop
	cmd.Stdin, cmd.Stderr = bytes.NewReader(raw), os.Stderr
	return b.startChild(cmd, port)
}

func (b *bench) startChild(cmd *exec.Cmd, port int) (*child.Process, error) {
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, func() { process.Stop(syscall.SIGTERM, 5*time.Second) })
	return process, process.WaitFor(port, 60*time.Second)
}

// listenFor reads a child's settings and listens on its port.
func listenFor(ctx context.Context, in io.Reader, settings any, port *int) (net.Listener, error) {
	if err := json.NewDecoder(in).Decode(settings); err != nil {
		return nil, fmt.Errorf("reading what to serve: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return listener, nil
}

// bareAnswer is what the reference of product reads sends.
type bareAnswer struct {
	Port   int
	Header http.Header
	Body   []byte
}

// serveBare answers everything with the same bytes, in a process of its own as the handler is.
func serveBare(ctx context.Context, in io.Reader) error {
	var a bareAnswer
	listener, err := listenFor(ctx, in, &a, &a.Port)
	if err != nil {
		return err
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

// brokerSettings say what broker to serve.
type brokerSettings struct {
	Port    int
	Journal string
	// Hosted is whether somebody reads the service's own subscription. Where nobody does it is left out, or its
	// messages would pile up.
	Hosted bool
}

// audience is the benchmark's own subscription to the service's topic.
const audience = "load"

// serveBroker serves the stand-in for Service Bus with a journal, as the local stack has it.
func serveBroker(ctx context.Context, in io.Reader) error {
	var s brokerSettings
	listener, err := listenFor(ctx, in, &s, &s.Port)
	if err != nil {
		return err
	}
	// Every three seconds the broker rewrote its journal, and took up to half of a core for a second: the service's time. Once
	// in minutes is enough.
	broker, err := standin.New(standin.Options{Journal: s.Journal, CompactAfter: 1 << 30})
	if err != nil {
		return err
	}
	if s.Hosted {
		err = broker.LoadConfig(standin.ServiceEntities())
	} else {
		err = errors.Join(broker.CreateTopic(servicebus.TopicOrderEvents, standin.Properties{DuplicateWindow: 5 * time.Minute}),
			broker.CreateQueue(servicebus.QueueOrderRequests, standin.Properties{}), broker.CreateQueue(servicebus.QueueWebhookDelivery, standin.Properties{}))
	}
	if err == nil {
		err = broker.CreateSubscription(servicebus.TopicOrderEvents, audience, standin.Properties{})
	}
	if err != nil {
		return err
	}
	return broker.Serve(listener)
}
