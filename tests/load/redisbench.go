package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
)

// redisRow is what redis-benchmark says of one command.
type redisRow struct {
	test                string
	rate, p50, p95, p99 float64 // ms
}

// redisReference measures SET and GET of values as large as a cached answer, on as many connections as ours. Where
// redis-benchmark is missing there are no rows.
func (b *bench) redisReference(ctx context.Context) error {
	program, err := exec.LookPath("redis-benchmark")
	if err != nil {
		b.say("redis-benchmark is not installed: its rows are left out")
		return nil //nolint:nilerr // told
	}
	u, err := url.Parse(b.redis)
	if err != nil {
		return fmt.Errorf("TEST_REDIS_URL: %w", err)
	}
	requests := strconv.Itoa(20_000 * int(b.duration.Seconds()))
	cmd := exec.CommandContext(ctx, program, "-h", u.Hostname(), "-p", u.Port(), "-c", strconv.Itoa(b.connections), //nolint:gosec // found on PATH
		"-n", requests, "-d", "1024", "-r", "100000", "-t", "set,get", "--csv", "--dbnum", "15")
	said, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("running redis-benchmark: %w\n%s", err, said)
	}
	if b.redisRows, err = readRedis(string(said)); err != nil {
		return err
	}
	for _, row := range b.redisRows {
		b.say("redis-benchmark %s %.0f/s  p50 %.2f  p99 %.2f ms", row.test, row.rate, row.p50, row.p99)
	}
	return nil
}

// readRedis reads redis-benchmark's table.
func readRedis(said string) ([]redisRow, error) {
	records, err := csv.NewReader(strings.NewReader(said)).ReadAll()
	if err != nil || len(records) < 2 {
		return nil, fmt.Errorf("redis-benchmark said no table (%w):\n%s", err, said)
	}
	column := map[string]int{}
	for i, name := range records[0] {
		column[name] = i
	}
	var rows []redisRow
	for _, record := range records[1:] {
		row := redisRow{test: record[0]}
		for name, into := range map[string]*float64{"rps": &row.rate, "p50_latency_ms": &row.p50, "p95_latency_ms": &row.p95, "p99_latency_ms": &row.p99} {
			i, ok := column[name]
			if !ok {
				return nil, fmt.Errorf("redis-benchmark's table has no %s:\n%s", name, said)
			}
			if *into, err = strconv.ParseFloat(record[i], 64); err != nil {
				return nil, fmt.Errorf("redis-benchmark's table: %w", err)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}
