package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/company/order-catalog-service/infra/local/servicebus"
)

// startBus starts the broker that stands in for Service Bus. What it has acknowledged survives its end: messages
// are kept in a journal.
func (s *stack) startBus(ctx context.Context, _ func(string)) (string, error) {
	if s.given.bus != "" {
		s.env["SERVICEBUS_CONNECTION"] = s.given.bus
		return "the one of SERVICEBUS_CONNECTION", nil
	}
	dir := s.root.local("servicebus")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("a folder for the broker's journal: %w", err)
	}
	broker, err := servicebus.New(servicebus.Options{Journal: s.root.local("servicebus", "journal"), Log: newConsole(os.Stdout)})
	if err != nil {
		return "", err
	}
	if err := broker.LoadConfig(servicebus.ServiceEntities()); err != nil {
		return "", errors.Join(err, broker.Close())
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(s.ports.BusPort))
	if err != nil {
		return "", errors.Join(err, broker.Close())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := broker.Serve(l); err != nil {
			fmt.Fprintln(os.Stderr, "Service Bus stand-in:", err)
		}
	}()
	s.add("Service Bus stand-in", func() { _ = broker.Close() }, ended)
	s.env["SERVICEBUS_CONNECTION"] = servicebus.ConnectionString(s.ports.BusPort)
	return fmt.Sprintf("sb://127.0.0.1:%d (stand-in)", s.ports.BusPort), nil
}
