package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// findPgbench looks on PATH, then beside the server's binaries, where Debian keeps it.
func findPgbench() (string, error) {
	if path, err := exec.LookPath("pgbench"); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench") // the pattern is well-formed
	if len(found) == 0 {
		return "", errors.New("there is no pgbench: it comes with PostgreSQL's server or contrib package; install it or put it on PATH")
	}
	return found[len(found)-1], nil
}

// prepareReference writes pgbench's scripts after the rows of the one order that the service has placed.
func prepareReference(ctx context.Context, db *pgx.Conn, dir string) error {
	var s sample
	if err := db.QueryRow(ctx, sampleSQL).Scan(&s.address, &s.eventType, &s.payload, &s.header, &s.body); err != nil {
		return fmt.Errorf("reading the rows of an order: %w", err)
	}
	hottest := strconv.Itoa(products + 1)
	for name, text := range map[string]string{
		separate + spread: s.separate(":a", ":b"), separate + hot: s.separate(hottest),
		single + spread: s.single(":a", ":b"), single + hot: s.single(hottest),
	} {
		if err := os.WriteFile(filepath.Join(dir, name+".sql"), []byte(text), 0o600); err != nil { //nolint:gosec // a folder of ours
			return fmt.Errorf("writing pgbench's script: %w", err)
		}
	}
	return nil
}

// pgbenchRun runs a script on so many connections, and keeps the books.
func (s *stack) pgbenchRun(ctx context.Context, name string, connections int, duration time.Duration) (result, error) {
	prefix := filepath.Join(s.dir, "latency")
	// Its clock starts before it connects, which takes a while with many clients; its rate leaves that time out.
	seconds := int(duration.Seconds()) + connections/128
	cmd := exec.CommandContext(ctx, s.pgbench, "-n", "-M", "prepared", "-c", strconv.Itoa(connections), "-j", strconv.Itoa(min(connections, runtime.NumCPU())), //nolint:gosec // found by us
		"-T", strconv.Itoa(seconds), "-f", filepath.Join(s.dir, name+".sql"), "-l", "--log-prefix", prefix, s.app)
	// The timeouts are the service's, which never lets so many wait for one row.
	cmd.Env = append(os.Environ(), "PGOPTIONS=-c statement_timeout=0 -c lock_timeout=0")
	said, err := cmd.CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("running pgbench: %w\n%s", err, said)
	}
	r := result{latencies: newHistogram(3)}
	logs, _ := filepath.Glob(prefix + ".*") // the pattern is well-formed
	for _, name := range logs {
		raw, err := os.ReadFile(name) //nolint:gosec // pgbench just wrote it
		if err == nil {
			err = readLog(&r, string(raw))
		}
		if err = errors.Join(err, os.Remove(name)); err != nil {
			return result{}, fmt.Errorf("reading pgbench's log: %w", err)
		}
	}
	r.cpu = append(r.cpu, usage{"pgbench", cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()})
	if r.all(good) == 0 { // so many clients on so busy a machine: then that is its rate
		r.took = duration
		return r, nil
	}
	rate, err := ownRate(string(said))
	if err != nil {
		return result{}, err
	}
	r.took = time.Duration(float64(r.all(good)) / rate * float64(time.Second))
	lines := 1
	if strings.HasSuffix(name, spread) {
		lines = 2
	}
	s.books.accept(r.all(good), lines*r.all(good))
	return r, nil
}

// ownRate is what pgbench says of itself: transactions a second, without the time that it took to connect and with that
// of the transactions that were under way at the end.
func ownRate(said string) (float64, error) {
	_, after, ok := strings.Cut(said, "\ntps = ")
	value, _, _ := strings.Cut(after, " ")
	rate, err := strconv.ParseFloat(value, 64)
	if !ok || err != nil || rate <= 0 {
		return 0, fmt.Errorf("pgbench does not say its rate:\n%s", said)
	}
	return rate, nil
}

// readLog counts the transactions of a log: the third number of each line is how long one took, in microseconds.
func readLog(r *result, log string) error {
	for line := range strings.Lines(log) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return fmt.Errorf("line %q has no latency", strings.TrimSpace(line))
		}
		us, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return fmt.Errorf("line %q has no latency: %w", strings.TrimSpace(line), err)
		}
		if err := record(r.latencies, time.Duration(us)*time.Microsecond); err != nil {
			return err
		}
		r.counts[placeOrder][good]++
	}
	return nil
}
