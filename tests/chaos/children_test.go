package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/infra/local/pump"
	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// TestMain is also the main function of the processes that are killed.
func TestMain(m *testing.M) {
	role, ok := map[string]func(io.Reader) error{"broker": serveBroker, "host": serveHost}[os.Getenv("CHAOS_ROLE")]
	if !ok {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, os.Getenv("CHAOS_ROLE"), "ended:", role(os.Stdin))
	os.Exit(1)
}

// audit is the test's own subscription to the service's topic.
const audit = "audit"

type brokerSettings struct {
	Port    int
	Journal string
}

func serveBroker(in io.Reader) error {
	var s brokerSettings
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return err
	}
	broker, err := standin.New(standin.Options{Journal: s.Journal})
	if err != nil {
		return err
	}
	err = errors.Join(broker.LoadConfig(standin.ServiceEntities()), broker.CreateSubscription(servicebus.TopicOrderEvents, audit, standin.Properties{}))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	if err != nil {
		return err
	}
	return broker.Serve(l)
}

type hostSettings struct {
	Port                 int
	ScriptRoot, StateDir string
	Env                  []string
	Connection           string
}

func serveHost(in io.Reader) error {
	var s hostSettings
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	messages, err := pump.Open(s.Connection, logger)
	if err != nil {
		return err
	}
	h, err := host.Load(host.Options{
		ScriptRoot: s.ScriptRoot, Addr: fmt.Sprintf("127.0.0.1:%d", s.Port), Env: s.Env, StateDir: s.StateDir, Logger: logger, Pump: messages.Receive,
		Limits: host.Limits{CrashWindow: time.Nanosecond}, // a real host gives up after three crashes within half an hour
	})
	if err != nil {
		return err
	}
	if err := h.Start(context.Background()); err != nil {
		return err
	}
	return h.Wait()
}

// startSelf makes this test binary one of its children and waits until its port answers.
func startSelf(t *testing.T, role string, settings any, port int) *child.Process {
	t.Helper()
	raw, err := json.Marshal(settings)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHAOS_ROLE="+role)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(raw), os.Stderr
	p, err := child.Start(cmd, syscall.SIGKILL)
	require.NoError(t, err)
	if err := p.WaitFor(port, time.Minute); err != nil {
		p.Stop(syscall.SIGKILL, time.Second)
		require.NoError(t, err)
	}
	return p
}
