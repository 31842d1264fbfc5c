package e2e

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
)

// TestKill9BetweenCommitAndAnswer is promise P1 at its worst: orders are being placed while the handler gets SIGKILL,
// four times just after a commit that it has not heard of, and twice at whatever moment it is.
func TestKill9BetweenCommitAndAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := newGate(t, w.AppURL)
	// Six crashes would end a host with the real one's patience. A dead handler's claims in Redis outlive it by its
	// request timeout, and so long its clients hear 409: shorter than by default, to keep the test short.
	s := w.start(t, g.url, host.Limits{CrashWindow: time.Nanosecond}, "REQUEST_TIMEOUT=2s")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	clients := s.shop(ctx, t)
	for range 4 {
		g.armed.Store(true)
		await(ctx, t, g.held)
		s.kill(t)
		await(ctx, t, clients.answered)
	}
	for range 2 {
		clients.some(ctx, t)
		s.kill(t)
		await(ctx, t, clients.answered)
	}
	assert.GreaterOrEqual(t, clients.leave(ctx, t), 4, "commits whose answer was lost")
}

// kill is kill -9.
func (s *service) kill(t *testing.T) {
	t.Helper()
	pid := s.HandlerPID()
	require.Positive(t, pid, "a handler is running")
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}
