package servicebus

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	standin "github.com/company/order-catalog-service/infra/local/servicebus"
)

const (
	journalVariable = "TEST_BROKER_JOURNAL"
	portVariable    = "TEST_BROKER_PORT"
)

// TestMain makes this program the broker that a test kills, when it is started as one.
func TestMain(m *testing.M) {
	if path := os.Getenv(journalVariable); path != "" {
		fmt.Fprintln(os.Stderr, beBroker(path, os.Getenv(portVariable)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func beBroker(path, port string) error {
	data, err := os.ReadFile("../../infra/local/servicebus/config.json")
	if err != nil {
		return err
	}
	b, err := standin.New(standin.Options{Journal: path, CompactAfter: 64 << 10})
	if err != nil {
		return err
	}
	if err := b.LoadConfig(data); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	return b.Serve(l)
}

// startBroker starts a broker in a process of its own, on the port if it is given.
func startBroker(t *testing.T, journal string, port int) (*child.Process, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), journalVariable+"="+journal, portVariable+"="+strconv.Itoa(port))
	cmd.Stderr = os.Stderr
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout = w
	p, err := child.Start(cmd, syscall.SIGKILL)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	t.Cleanup(func() { p.Stop(syscall.SIGKILL, patience) })
	line, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, r.Close())
	port, err = strconv.Atoi(line[:len(line)-1])
	require.NoError(t, err)
	return p, port
}

// ledger is what the clients did and were told.
type ledger struct {
	mu        sync.Mutex
	sent      []string        // acknowledged, in order
	settling  map[string]bool // completed, whether the answer came or not
	completed map[string]bool // acknowledged
	progress  chan struct{}
}

func (l *ledger) note(f func()) {
	l.mu.Lock()
	f()
	l.mu.Unlock()
	select {
	case l.progress <- struct{}{}:
	default:
	}
}

// more waits until as many more sends and completions were acknowledged.
func (l *ledger) more(t *testing.T, sends, completions int) {
	t.Helper()
	counts := func() (int, int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.sent), len(l.completed)
	}
	sent, done := counts()
	for deadline := time.After(patience); ; {
		select {
		case <-l.progress:
		case <-deadline:
			t.Fatal("nothing happens any more")
		}
		if s, d := counts(); s >= sent+sends && d >= done+completions {
			return
		}
	}
}

// TestKill9LosesNothingAcknowledged sends and receives while the broker gets SIGKILL again and again, and compares
// what the clients were promised with what is left.
func TestKill9LosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	if os.Getenv("SERVICEBUS_CONNECTION") != "" {
		t.Skip("the broker is not ours to kill")
	}
	journal := filepath.Join(t.TempDir(), "journal")
	l := &ledger{settling: map[string]bool{}, completed: map[string]bool{}, progress: make(chan struct{}, 1)}
	port := 0
	for range 6 {
		var p *child.Process
		p, port = startBroker(t, journal, port)
		// Clients of their own each time: one that lost its connection takes seconds to settle again.
		b := &bus{Client: connect(t, standin.ConnectionString(port))}
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		s, r := b.sender(t, topic), b.receiver(t, topic, nil)
		clients.Go(func() { l.send(ctx, s) })
		clients.Go(func() { l.receive(ctx, r) })
		l.more(t, 400, 200)
		p.Stop(syscall.SIGKILL, patience)
		stop()
		clients.Wait()
	}
	startBroker(t, journal, port)
	l.compare(t, &bus{Client: connect(t, standin.ConnectionString(port))})
}

// send sends numbered messages, each until it is acknowledged: the topic, also after a kill, drops what it has.
func (l *ledger) send(ctx context.Context, s *azservicebus.Sender) {
	for ctx.Err() == nil {
		id := strconv.Itoa(len(l.sent))
		m := &azservicebus.Message{MessageID: &id, Body: make([]byte, 500)}
		if s.SendMessage(ctx, m, nil) == nil {
			l.note(func() { l.sent = append(l.sent, id) })
		}
	}
}

// receive completes two messages of three.
func (l *ledger) receive(ctx context.Context, r *azservicebus.Receiver) {
	for n := 0; ctx.Err() == nil; {
		got, _ := r.ReceiveMessages(ctx, 10, nil) // errors are what killing brings
		for _, m := range got {
			if n++; n%3 == 0 {
				continue
			}
			l.note(func() { l.settling[name(m)] = true })
			if r.CompleteMessage(ctx, m, nil) == nil {
				l.note(func() { l.completed[name(m)] = true })
			}
		}
	}
}

func (l *ledger) compare(t *testing.T, b *bus) {
	t.Helper()
	s, r := b.sender(t, topic), b.receiver(t, topic, nil)
	send(t, s, "end")
	left := map[string]bool{}
	for before := -1; ; {
		m := takeOne(t, r)
		completed(t, r, m)
		if name(m) == "end" {
			break
		}
		number, err := strconv.Atoi(name(m))
		require.NoError(t, err)
		assert.Greater(t, number, before, "twice, or out of order")
		before = number
		left[name(m)] = true
	}
	t.Logf("%d sends and %d completions were acknowledged, %d messages were left", len(l.sent), len(l.completed), len(left))
	for _, id := range l.sent {
		assert.False(t, left[id] && l.completed[id], "message %s was completed and came again", id)
		assert.True(t, left[id] || l.settling[id], "message %s was acknowledged and is lost", id)
	}
}
