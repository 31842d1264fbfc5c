package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/company/order-catalog-service/tests/history"
)

// fault is one thing to do. Everything about it is drawn before the run begins, so that a seed is a run.
type fault struct {
	kind, target string
	node         int           // whose handler or way is hurt
	pause        time.Duration // before it, after the one before
	lasts        time.Duration
	direction    string // of a toxic
	attributes   map[string]any
}

// Each kind of fault with how often it is drawn.
var kinds = []struct {
	kind   string
	weight int
	draw   func(*rand.Rand, *fault)
}{
	// Processes that end without a word, and come back.
	{"kill", 12, func(r *rand.Rand, f *fault) {
		f.target = pick(r, "handler", "handler", "handler", "host", "postgres", "redis", "redis", "broker", "broker")
		f.lasts = upTo(r, 1500*time.Millisecond)
	}},
	// Processes that stop and go on as if nothing had been: nobody's connection ends, nobody's answer comes.
	{"stop", 6, func(r *rand.Rand, f *fault) {
		f.target = pick(r, "handler", "handler", "postgres", "redis", "broker", "host")
		f.lasts = 100*time.Millisecond + upTo(r, 4*time.Second)
	}},
	{"flush", 2, func(_ *rand.Rand, f *fault) { f.target = "redis" }},
	// What is between a handler and a store.
	{"latency", 4, func(r *rand.Rand, f *fault) {
		toxic(r, f, map[string]any{"latency": 20 + r.IntN(400), "jitter": r.IntN(100)})
	}},
	{"bandwidth", 2, func(r *rand.Rand, f *fault) { toxic(r, f, map[string]any{"rate": 1 + r.IntN(20)}) }}, // KB/s
	{"reset_peer", 5, func(r *rand.Rand, f *fault) { toxic(r, f, map[string]any{"timeout": r.IntN(200)}); f.lasts /= 4 }},
	{"timeout", 4, func(r *rand.Rand, f *fault) { toxic(r, f, map[string]any{"timeout": 0}) }}, // nothing comes through and nothing ends
	{"slicer", 2, func(r *rand.Rand, f *fault) {
		toxic(r, f, map[string]any{"average_size": 10 + r.IntN(200), "size_variation": 5, "delay": 500})
	}},
	{"limit_data", 3, func(r *rand.Rand, f *fault) { toxic(r, f, map[string]any{"bytes": 100 + r.IntN(20000)}); f.lasts /= 2 }}, // cut in the middle of an answer
}

func toxic(r *rand.Rand, f *fault, attributes map[string]any) {
	f.target, f.direction, f.attributes = pick(r, stores...), pick(r, "upstream", "downstream"), attributes
	f.lasts = 200*time.Millisecond + upTo(r, 3*time.Second)
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

// plan draws the faults of a run.
func plan(c course) (list []fault) {
	r := rand.New(rand.NewPCG(c.seed, 10))
	all := 0
	for _, k := range kinds {
		all += k.weight
	}
	for at := time.Duration(0); at < c.duration; {
		f := fault{node: r.IntN(hosts), pause: 100*time.Millisecond + upTo(r, c.breath-100*time.Millisecond)}
		n := r.IntN(all)
		for _, k := range kinds {
			if n -= k.weight; n < 0 {
				f.kind = k.kind
				k.draw(r, &f)
				break
			}
		}
		list = append(list, f)
		at += f.pause + f.lasts
	}
	return list
}

// torment does what was planned, one fault after the other, and writes it down. It ends with the plan or with ctx, and
// then everything runs and nothing is poisoned.
func (s *stack) torment(ctx context.Context, log *history.Log, list []fault, settings []string) (done int) {
	for _, f := range list {
		if !sleep(ctx, f.pause) {
			return done
		}
		h := history.Fault{Kind: f.kind, Target: f.target, Begin: log.Now()}
		if f.kind != "flush" && f.target != "postgres" && f.target != "redis" && f.target != "broker" || f.attributes != nil {
			h.Target = fmt.Sprintf("%s %d", f.target, f.node)
		}
		if f.attributes != nil {
			h.Note = f.direction + " " + strings.Trim(fmt.Sprint(f.attributes), "map[]")
		}
		s.commit(ctx, f, settings)
		h.End = log.Now()
		log.Hurt(h)
		done++
	}
	return done
}

// commit does one fault and undoes it when its time is over.
func (s *stack) commit(ctx context.Context, f fault, settings []string) {
	n := s.hosts[f.node]
	switch f.kind {
	case "kill":
		s.kill(ctx, f, settings)
	case "stop":
		stopped := s.processes(f)
		for _, pid := range stopped {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
		sleep(ctx, f.lasts)
		for _, pid := range stopped {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	case "flush":
		client := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.ports.redis)})
		assert.NoError(s.t, client.FlushAll(context.WithoutCancel(ctx)).Err())
		_ = client.Close()
	default:
		assert.NoError(s.t, n.poison(f.target, f.kind, f.direction, f.attributes))
		sleep(ctx, f.lasts)
		n.heal(f.target)
	}
}

// kill ends a process and, a while later, starts it again. The host starts its handler again by itself.
func (s *stack) kill(ctx context.Context, f fault, settings []string) {
	n := s.hosts[f.node]
	switch f.target {
	case "handler":
		if pids := family(n.process.PID()); len(pids) > 1 {
			_ = syscall.Kill(pids[1], syscall.SIGKILL)
		}
		sleep(ctx, f.lasts)
	case "host":
		n.process.Stop(syscall.SIGKILL, time.Second)
		sleep(ctx, f.lasts)
		s.startHost(f.node, settings)
	case "postgres":
		s.postgres.Kill()
		sleep(ctx, f.lasts)
		s.startPostgres()
	case "redis":
		s.redis.Kill()
		sleep(ctx, f.lasts)
		s.startRedis()
	case "broker":
		s.broker.Stop(syscall.SIGKILL, time.Second)
		sleep(ctx, f.lasts)
		s.startBroker()
	}
}

// processes are those of a fault's target.
func (s *stack) processes(f fault) []int {
	switch f.target {
	case "handler":
		return family(s.hosts[f.node].process.PID())[1:]
	case "host":
		return []int{s.hosts[f.node].process.PID()}
	case "postgres":
		return family(s.postgres.PID())
	case "redis":
		return []int{s.redis.PID()}
	default:
		return []int{s.broker.PID()}
	}
}

// sleep waits for d, less when ctx ends, and says whether it was all of it.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
