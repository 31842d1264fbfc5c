package soak

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// TestMain is also the main function of the processes that are killed.
func TestMain(m *testing.M) {
	var err error
	switch os.Getenv("SOAK_ROLE") {
	case "drain":
		err = runDrain(os.Getenv("SOAK_DATABASE"), os.Getenv("SOAK_BROKER"))
	case "broker":
		err = runBroker(os.Getenv("SOAK_ADDR"), os.Getenv("SOAK_JOURNAL"))
	default:
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, os.Getenv("SOAK_ROLE"), "ended:", err)
	os.Exit(1)
}

// runDrain drains as the service does, with a sweep every 50 ms in place of the timer and of nudges.
func runDrain(database, connection string) error {
	ctx := context.Background()
	pools, err := postgres.Open(ctx, database, postgres.Budget{Drain: 4, Acquire: 5 * time.Second})
	if err != nil {
		return err
	}
	client, err := servicebus.Open(servicebus.Options{ConnectionString: connection})
	if err != nil {
		return err
	}
	drain, err := outbox.NewDrain(pools.Drain, client.Sender(servicebus.TopicOrderEvents), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	for {
		_ = drain.Sweep(ctx) // the broker may be dead just now
		time.Sleep(50 * time.Millisecond)
	}
}

func runBroker(addr, journal string) error {
	broker, err := standin.New(standin.Options{Journal: journal})
	if err != nil {
		return err
	}
	if err := broker.LoadConfig(standin.ServiceEntities()); err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return broker.Serve(l)
}

// victim is a process that is killed and started again.
type victim struct {
	env []string

	mu      sync.Mutex
	process *child.Process
	kills   int
}

func (v *victim) start(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), v.env...)
	cmd.Stderr = os.Stderr
	var err error
	v.process, err = child.Start(cmd, syscall.SIGKILL) // it does not outlive us, however we end
	require.NoError(t, err)
}

// kill ends the process without a word and waits until it is gone.
func (v *victim) kill(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.process.Stop(syscall.SIGKILL, time.Second)
	v.kills++
}

// killAtRandom kills one of the victims every half a second or so until ctx ends, and leaves all of them running.
func killAtRandom(ctx context.Context, t *testing.T, victims []*victim) {
	t.Helper()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(200+rand.IntN(600)) * time.Millisecond):
		}
		v := victims[rand.IntN(len(victims))]
		v.kill(t)
		v.start(t)
	}
}
