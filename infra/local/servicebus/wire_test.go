package servicebus

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/servicebus/amqp"
)

// What the real client never does, or not when it's wanted.

func queueBroker(t *testing.T, o Options) *Broker {
	t.Helper()
	b := newBroker(t, o)
	require.NoError(t, b.CreateQueue("q", Properties{}))
	return b
}

func TestAnIdleConnectionIsKeptAlive(t *testing.T) {
	t.Parallel()
	r := dial(t, queueBroker(t, Options{}))
	r.perform(performOpen, "test", "host", uint32(maxFrame), nil, uint32(100))
	r.expect(performOpen)
	for range 3 {
		began := time.Now()
		_, _, body, err := r.c.readFrame(r.in)
		require.NoError(t, err)
		assert.Empty(t, body)
		assert.Less(t, time.Since(began), patience)
	}
}

func TestWhoBreaksTheProtocolIsTold(t *testing.T) {
	t.Parallel()
	b := queueBroker(t, Options{})
	tooMany := make([]byte, 8)
	binary.BigEndian.PutUint32(tooMany, maxFrame+1)
	tooMany[4] = 2
	for name, c := range map[string]struct {
		opened bool
		frame  []byte
		says   string
	}{
		"a frame that is too large":   {true, tooMany, condFraming},
		"a frame before the open":     {false, frameBytes(0, amqp.Performative(performBegin)...), condNotAllowed},
		"what is no AMQP":             {true, frameBytes(0, 0xff, 0xff), condDecode},
		"a second open":               {true, frameBytes(0, amqp.Performative(performOpen)...), condNotAllowed},
		"a channel that is in use":    {true, frameBytes(0, amqp.Performative(performBegin)...), condNotAllowed},
		"a channel too many":          {true, frameBytes(maxChannel+1, amqp.Performative(performBegin)...), condNotAllowed},
		"a link too many":             {true, frameBytes(0, amqp.Performative(performAttach, "l", uint32(maxHandle+1))...), condNotAllowed},
		"four billion settlements":    {true, frameBytes(0, amqp.Performative(performDisposition, true, uint32(1), uint32(0))...), condInvalidField},
		"a frame that nobody defined": {true, frameBytes(0, amqp.Performative(0x19)...), condNotImplemented},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := dial(t, b)
			if c.opened {
				r.open()
			}
			r.write(c.frame)
			code, fields := r.next()
			require.Equal(t, uint64(performClose), code)
			_, e := amqp.Fields(amqp.At(fields, 0))
			assert.Equal(t, c.says, amqp.String(amqp.At(e, 0)))
			_, err := r.in.ReadByte()
			assert.Error(t, err, "and then the connection ends")
		})
	}
}

// TestAMessageThatIsTooLargeIsNotKept sends what the real client would not: far more than it may, in many frames.
func TestAMessageThatIsTooLargeIsNotKept(t *testing.T) {
	t.Parallel()
	b := queueBroker(t, Options{MaxMessageSize: 100 << 10})
	r := dial(t, b)
	r.open()
	r.claim(b, "q")
	r.attachSender("q")
	part := plain(30 << 10)
	for i := range 5 {
		r.write(frameBytes(0, append(amqp.Performative(performTransfer, uint32(0), uint32(0), []byte("tag"), uint32(0), false, i < 4), part...)...))
	}
	f := r.expect(performDisposition)
	code, fields := amqp.Fields(amqp.At(f, 4))
	require.Equal(t, uint64(stateRejected), code)
	_, e := amqp.Fields(amqp.At(fields, 0))
	assert.Equal(t, condTooLarge, amqp.String(amqp.At(e, 0)))
	counts, _ := b.Depth("q")
	assert.Zero(t, counts)

	for range 4 { // one that is never finished costs no more than one that may be sent
		r.write(frameBytes(0, append(amqp.Performative(performTransfer, uint32(0), uint32(1), []byte("tag"), uint32(0), false, true), part...)...))
	}
	r.attachReceiver(1, "q", 0) // its answer says that all before it was handled
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		assert.Empty(t, c.sessions[0].links[0].incoming.body)
	}
}

// TestAClientThatDoesNotReadCostsLittle gives a receiver credit for far more than is ever kept for it.
func TestAClientThatDoesNotReadCostsLittle(t *testing.T) {
	t.Parallel()
	b := queueBroker(t, Options{})
	const messages, size = 200, 200 << 10
	b.mu.Lock()
	for range messages {
		m, err := parseMessage(plain(size))
		require.NoError(t, err)
		b.entities["q"].accept(m)
	}
	b.mu.Unlock()
	r := dial(t, b)
	r.open()
	r.claim(b, "q")
	r.attachReceiver(0, "q", messages)
	locked := func() int {
		counts, _ := b.Depth("q")
		return counts.Locked
	}
	require.Eventually(t, func() bool { return locked() > 0 }, patience, time.Millisecond)
	r.perform(performFlow, uint32(0), uint32(1000), uint32(0), uint32(1000), uint32(0), uint32(0), uint32(messages)) // asks again
	assert.Less(t, locked(), messages/3, "delivered, that is kept for it")
	b.mu.Lock()
	for c := range b.conns {
		c.out.mu.Lock()
		assert.Less(t, len(c.out.pending), congestion+2*size)
		c.out.mu.Unlock()
	}
	b.mu.Unlock()
	for received := 0; received < messages; { // and once it reads, all of it comes
		f := r.expect(performTransfer)
		if more, _ := amqp.At(f, 5).(bool); !more {
			received++
		}
		r.perform(performFlow, uint32(0), uint32(1<<20), uint32(0), uint32(1000), uint32(0), uint32(0), uint32(messages))
	}
}

// TestALateSettlementIsALostLock: the delivery is forgotten with its lock, or each would stay as long as the session.
func TestALateSettlementIsALostLock(t *testing.T) {
	t.Parallel()
	clock := &clock{}
	b := queueBroker(t, Options{Now: clock.now})
	send(t, client(t, b), "q", az("a"))
	r := dial(t, b)
	r.open()
	r.claim(b, "q")
	r.attachReceiver(0, "q", 1)
	first := r.expect(performTransfer)
	clock.pass(2 * time.Minute)
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for c := range b.conns {
			for _, s := range c.sessions {
				if len(s.unsettled) > 0 {
					return false
				}
			}
		}
		return true
	}, patience, time.Millisecond)
	r.perform(performDisposition, true, amqp.At(first, 1), nil, false, amqp.Described{Code: uint64(stateAccepted), Value: []any{}})
	code, fields := amqp.Fields(amqp.At(r.expect(performDisposition), 4))
	assert.Equal(t, uint64(stateRejected), code)
	_, e := amqp.Fields(amqp.At(fields, 0))
	assert.Equal(t, condLockLost, amqp.String(amqp.At(e, 0)))
	counts, _ := b.Depth("q")
	assert.Equal(t, 1, counts.Active, "it wasn't settled")
}

func TestDetachLinks(t *testing.T) {
	t.Parallel()
	b := queueBroker(t, Options{})
	require.NoError(t, b.CreateQueue("other", Properties{}))
	r := dial(t, b)
	r.open()
	r.claim(b, "q", "other")
	r.attachReceiver(0, "other", 1)
	r.attachReceiver(1, "q", 1)
	require.NoError(t, b.DetachLinks("Q"))
	f := r.expect(performDetach)
	handle, _ := amqp.Uint32(amqp.At(f, 0))
	assert.Equal(t, uint32(1), handle)
	_, e := amqp.Fields(amqp.At(f, 2))
	assert.Equal(t, condDetachForced, amqp.String(amqp.At(e, 0)))
	require.Error(t, b.DetachLinks("none"))
	send(t, client(t, b), "q", az("waits"))
	counts, _ := b.Depth("q")
	assert.Equal(t, 1, counts.Active, "what was detached receives no more")
}

// FuzzFrames handles arbitrary frames of a client that is let in everywhere: nothing panics, nothing hangs.
func FuzzFrames(f *testing.F) {
	attach := func(handle uint32, receives bool, address string) []byte {
		end := amqp.Described{Code: uint64(sourceCode), Value: []any{address}}
		return amqp.Performative(performAttach, "l", handle, receives, uint8(2), uint8(1), end, end)
	}
	transfer := amqp.Performative(performTransfer, uint32(0), uint32(0), []byte("tag"), uint32(0), false, false)
	f.Add(append(transfer, plain(10)...), amqp.Performative(performDisposition, true, uint32(0), uint32(3), true, amqp.Described{Code: uint64(stateAccepted), Value: []any{}}))
	f.Add(attach(7, true, "s"), amqp.Performative(performFlow, uint32(0), uint32(9), uint32(0), uint32(9), uint32(1), uint32(0), uint32(5)))
	f.Add(amqp.Performative(performDetach, uint32(1)), amqp.Performative(performEnd))
	f.Add(amqp.Performative(performBegin, nil, uint32(1)), amqp.Performative(performClose))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		b, err := New(Options{})
		require.NoError(t, err)
		defer func() { require.NoError(t, b.Close()) }()
		require.NoError(t, b.CreateQueue("q", Properties{MaxDeliveryCount: 2, DeadLetterOnExpiry: true}))
		require.NoError(t, b.CreateQueue("s", Properties{RequiresSession: true}))
		c := newConn(b, nil)
		for _, name := range []string{"q", "s", "q/$management"} {
			c.claims[name] = claim{until: b.now().Add(time.Hour), send: true, listen: true}
		}
		frames := [][]byte{
			amqp.Performative(performOpen), amqp.Performative(performBegin, nil, uint32(0), uint32(100)),
			attach(0, false, "q"), attach(1, true, "q"), attach(2, false, "q/$management"),
			append(transfer[:len(transfer):len(transfer)], plain(1)...), one, two, one,
		}
		for _, frame := range frames {
			if done, err := c.handle(0, frame); done || err != nil {
				break
			}
		}
	})
}

// FuzzMessage parses arbitrary messages and batches; what was parsed can be delivered.
func FuzzMessage(f *testing.F) {
	f.Add(plain(10))
	f.Add(append(amqp.Performative(sectionProperties, "id", nil, nil, nil, "reply"), plain(3)...))
	f.Add(amqp.Append(nil, amqp.Described{Code: uint64(sectionAnnotations), Value: map[any]any{amqp.Symbol("a"): []string{"x"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		parts, _ := splitBatch(b)
		for _, p := range append(parts, b) {
			m, err := parseMessage(p)
			if err != nil {
				continue
			}
			id := m.ensureID()
			again, err := parseMessage(m.with(map[string]any{"k": "v"}).encode(time.Second, 1, nil, nil))
			require.NoError(t, err)
			require.Equal(t, id, again.id())
		}
	})
}
