package postgres

import (
	"context"
	"net"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// lines are all connections of the process to the server, whoever has them: idle, at work, or just being made.
type lines struct {
	mu   sync.Mutex
	open map[*line]struct{}
}

// line is one of them.
type line struct {
	net.Conn
	of *lines
}

// Close implements net.Conn.
func (l *line) Close() error {
	l.of.mu.Lock()
	delete(l.of.open, l)
	l.of.mu.Unlock()
	return l.Conn.Close()
}

// through notes what dial makes.
func (l *lines) through(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		one := &line{conn, l}
		l.mu.Lock()
		l.open[one] = struct{}{}
		l.mu.Unlock()
		return one, nil
	}
}

// cut ends all of them: who waits for an answer on one has none now.
func (l *lines) cut() {
	l.mu.Lock()
	var list []*line
	for one := range l.open {
		list = append(list, one)
	}
	l.mu.Unlock()
	for _, one := range list {
		_ = one.Close() // nothing is lost that was not lost before
	}
}
