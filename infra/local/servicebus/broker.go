package servicebus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/company/order-catalog-service/infra/local/servicebus/journal"
)

// MaxMessageSize is the Standard tier's limit, a batch's too.
const MaxMessageSize = 256 << 10

// Options configure a Broker; the zero value is usable.
type Options struct {
	// MaxMessageSize defaults to the Standard tier's.
	MaxMessageSize int
	// Keys are the shared access keys by name; with none, any token is good, as the official emulator has it.
	Keys map[string]Key
	// Journal is a file that keeps messages over restarts; without one they are in memory only.
	Journal string
	// Fsync makes what was acknowledged survive a loss of power, not only kill -9.
	Fsync bool
	// CompactAfter is the size from which on the journal is rewritten whenever it has doubled; 32 MB.
	CompactAfter int64
	// Now is the clock for locks, schedules, windows and times to live; time.Now.
	Now func() time.Time
	// Log hears of clients that broke the protocol; nobody by default.
	Log *slog.Logger
}

// Key is a shared access key and its rights.
type Key struct {
	Value        string
	Send, Listen bool
}

// Broker holds the entities and serves them on any number of listeners.
type Broker struct {
	options Options
	log     *slog.Logger
	journal *journal.Journal // nil without one
	stopped chan struct{}
	running sync.WaitGroup // connections and the ticker

	mu        sync.Mutex
	entities  map[string]*entity
	remains   map[string]*remains // of entities that the journal knows and nobody created yet
	conns     map[*conn]struct{}
	listeners []net.Listener
	closed    bool
	failure   error // of the journal
	compacted int64 // the journal's size when it was last rewritten
}

// New makes a broker and reads its journal. Entities are created next, and find their messages again; those of an
// entity that is not created stay in the journal.
func New(o Options) (*Broker, error) {
	if o.MaxMessageSize == 0 {
		o.MaxMessageSize = MaxMessageSize
	}
	if o.CompactAfter == 0 {
		o.CompactAfter = 32 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Broker{
		options: o, log: o.Log, stopped: make(chan struct{}),
		entities: map[string]*entity{}, remains: map[string]*remains{}, conns: map[*conn]struct{}{},
	}
	if o.Journal != "" {
		j, err := journal.Open(o.Journal, o.Fsync, b.replay)
		if err != nil {
			return nil, fmt.Errorf("service bus: %w", err)
		}
		b.journal = j
	}
	b.running.Go(b.tick)
	return b, nil
}

// now has the precision of the wire, so that a time that went over it compares equal.
func (b *Broker) now() time.Time { return b.options.Now().UTC().Truncate(time.Millisecond) }

// CreateQueue adds a queue and its dead-letter sub-queue.
func (b *Broker) CreateQueue(name string, p Properties) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.createQueue(name, p)
	return err
}

// CreateTopic adds a topic, of whose properties only those of messages matter.
func (b *Broker) CreateTopic(name string, p Properties) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.RequiresSession = false
	_, err := b.create(kindTopic, name, p)
	return err
}

// CreateSubscription adds a subscription, read as <topic>/Subscriptions/<name>.
func (b *Broker) CreateSubscription(topic, name string, p Properties) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.entities[key(topic)]
	if t == nil || t.kind != kindTopic {
		return fmt.Errorf("there is no topic %s to subscribe to", topic)
	}
	p.DuplicateWindow = 0 // the topic's matter
	s, err := b.createQueue(t.name+"/Subscriptions/"+name, p)
	if err == nil {
		t.subscriptions = append(t.subscriptions, s)
	}
	return err
}

func (b *Broker) createQueue(name string, p Properties) (*entity, error) {
	e, err := b.create(kindQueue, name, p)
	if err != nil {
		return nil, err
	}
	e.deadLetters, err = b.create(kindDeadLetters, name+deadLetterSuffix, Properties{LockDuration: p.LockDuration})
	return e, err
}

func (b *Broker) create(kind entityKind, name string, p Properties) (*entity, error) {
	if key(name) == "" {
		return nil, errors.New("an entity needs a name")
	}
	if b.entities[key(name)] != nil {
		return nil, fmt.Errorf("%s exists", name)
	}
	e := newEntity(b, kind, name, p)
	if left := b.remains[key(name)]; left != nil {
		if err := e.adopt(left); err != nil {
			return nil, fmt.Errorf("what the journal has of %s: %w", name, err)
		}
		delete(b.remains, key(name))
	}
	b.entities[key(name)] = e
	return e, nil
}

// Serve accepts connections until the broker or the listener is closed. It returns the journal's failure, after which
// nothing can be promised and nothing is.
func (b *Broker) Serve(l net.Listener) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return l.Close()
	}
	b.listeners = append(b.listeners, l)
	b.mu.Unlock()
	for {
		n, err := l.Accept()
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.failure != nil || errors.Is(err, net.ErrClosed) {
				return b.failure
			}
			return fmt.Errorf("service bus: %w", err)
		}
		b.ServeConn(n)
	}
}

// ServeConn serves one connection, such as an end of a net.Pipe, in the background.
func (b *Broker) ServeConn(n net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.failure != nil {
		_ = n.Close() // it is of no use to anybody
		return
	}
	c := newConn(b, n)
	b.conns[c] = struct{}{}
	b.running.Go(c.read)
	b.running.Go(c.write)
}

// Close ends listeners and connections and puts the journal on the disk.
func (b *Broker) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	close(b.stopped)
	err := b.hangUp()
	b.mu.Unlock()
	b.running.Wait()
	if b.journal != nil {
		err = errors.Join(err, b.journal.Close())
	}
	return err
}

// hangUp ends listeners and connections; b.mu is held.
func (b *Broker) hangUp() (err error) {
	for _, l := range b.listeners {
		if closing := l.Close(); closing != nil && !errors.Is(closing, net.ErrClosed) {
			err = errors.Join(err, closing)
		}
	}
	for c := range b.conns {
		c.cut()
	}
	return err
}

// fail stops everything once the journal can't be written: an answer now would be a lie.
func (b *Broker) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failure == nil && !b.closed {
		b.failure = fmt.Errorf("service bus: %w", err)
		b.log.Error("the journal failed", "error", err)
		_ = b.hangUp() // the failure itself is what Serve returns
	}
}

// tick does what time brings and keeps the journal from growing for ever.
func (b *Broker) tick() {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-b.stopped:
			return
		case <-t.C:
		}
		b.mu.Lock()
		now := b.now()
		for _, e := range b.entities {
			e.sweep(now)
		}
		b.compact()
		b.mu.Unlock()
		if b.journal != nil {
			if err := b.journal.Commit(b.journal.Position()); err != nil {
				b.fail(err)
				return
			}
		}
	}
}

// ConnectionString is what a client on this machine needs to reach the broker without TLS. The key is the official
// emulator's, which is no secret.
func ConnectionString(port int) string {
	return fmt.Sprintf("Endpoint=sb://127.0.0.1:%d;SharedAccessKeyName=RootManageSharedAccessKey;"+
		"SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;", port)
}
