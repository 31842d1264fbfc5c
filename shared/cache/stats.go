package cache

import (
	"context"
	"fmt"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type stats struct {
	memory, redis, checked, negative, misses, loads, loadErrors, redisErrors, stale, lost atomic.Int64
}

// Stats are counts since the start.
type Stats struct {
	Memory      int64 // answered from memory
	Redis       int64 // answered from Redis
	Checked     int64 // answered from Redis after the database had said that it is still so
	Negative    int64 // answered with a remembered absence
	Misses      int64 // had to ask the database
	Loads       int64 // times the database was asked, refreshes included
	LoadErrors  int64
	RedisErrors int64
	Stale       int64 // answered with an old value because the database was away
	Lost        int64 // changes that Redis did not hear of (Private)
}

// Stats returns the counts.
func (c *Cache) Stats() Stats { return c.stats.read() }

func (s *stats) read() Stats {
	return Stats{
		Memory: s.memory.Load(), Redis: s.redis.Load(), Checked: s.checked.Load(), Negative: s.negative.Load(), Misses: s.misses.Load(),
		Loads: s.loads.Load(), LoadErrors: s.loadErrors.Load(), RedisErrors: s.redisErrors.Load(), Stale: s.stale.Load(), Lost: s.lost.Load(),
	}
}

// Watch shows the counts as redis_cache_hits_total, redis_cache_misses_total, redis_cache_hit_rate,
// cache_stale_answers_total and cache_changes_lost_total.
func (c *Cache) Watch() error { return watch(c.o.Name, c.Stats) }

func watch(name string, stats func() Stats) error {
	meter := otel.Meter("cache")
	hits, err := meter.Int64ObservableCounter("redis_cache_hits_total", metric.WithDescription("Reads answered by a cache, by cache and level."))
	if err != nil {
		return fmt.Errorf("making redis_cache_hits_total: %w", err)
	}
	misses, err := meter.Int64ObservableCounter("redis_cache_misses_total", metric.WithDescription("Reads that had to ask the database, by cache."))
	if err != nil {
		return fmt.Errorf("making redis_cache_misses_total: %w", err)
	}
	stale, err := meter.Int64ObservableCounter("cache_stale_answers_total",
		metric.WithDescription("Reads answered with an old value because the database was away, by cache."))
	if err != nil {
		return fmt.Errorf("making cache_stale_answers_total: %w", err)
	}
	lost, err := meter.Int64ObservableCounter("cache_changes_lost_total",
		metric.WithDescription("Changes that Redis did not hear of, so that a kept value may be believed for up to its bound, by cache."))
	if err != nil {
		return fmt.Errorf("making cache_changes_lost_total: %w", err)
	}
	rate, err := meter.Float64ObservableGauge("redis_cache_hit_rate", metric.WithDescription("Hits of all reads since the start, by cache."))
	if err != nil {
		return fmt.Errorf("making redis_cache_hit_rate: %w", err)
	}
	label := func(level ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(level, attribute.String("cache", name))...))
	}
	memory, redis, both := label(attribute.String("level", "memory")), label(attribute.String("level", "redis")), label()
	checked := label(attribute.String("level", "checked"))
	_, err = meter.RegisterCallback(func(_ context.Context, out metric.Observer) error {
		s := stats()
		hit := s.Memory + s.Negative
		out.ObserveInt64(hits, hit, memory)
		out.ObserveInt64(hits, s.Redis, redis)
		if s.Checked > 0 {
			out.ObserveInt64(hits, s.Checked, checked)
		}
		out.ObserveInt64(misses, s.Misses, both)
		out.ObserveInt64(stale, s.Stale, both)
		out.ObserveInt64(lost, s.Lost, both)
		hit += s.Redis + s.Checked
		if all := hit + s.Misses; all > 0 {
			out.ObserveFloat64(rate, float64(hit)/float64(all), both)
		}
		return nil
	}, hits, misses, stale, lost, rate)
	if err != nil {
		return fmt.Errorf("watching the %s cache: %w", name, err)
	}
	return nil
}
