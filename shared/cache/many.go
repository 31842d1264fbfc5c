package cache

import (
	"context"
)

// GetMany returns the entries of ids that exist. What memory doesn't have is loaded with one call for all of it: load
// reads the truth, and leaves out what does not exist. Redis isn't asked: one statement costs no more than one round
// trip there.
func (c *Cache) GetMany(ctx context.Context, ids []string, load func(ctx context.Context, missing []string) (map[string]Entry, error)) (map[string]Entry, error) {
	found := make(map[string]Entry, len(ids))
	var missing []string
	for _, id := range ids {
		i, ok := c.memory.GetIfPresent(id)
		switch {
		case !ok || !c.believed(i):
			missing = append(missing, id)
		case i.missing:
			c.stats.negative.Add(1)
		default:
			c.stats.memory.Add(1)
			found[id] = i.Entry
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	c.stats.misses.Add(int64(len(missing)))
	c.stats.loads.Add(1)
	at := c.o.Now()
	loaded, err := load(ctx, missing)
	if err != nil {
		c.stats.loadErrors.Add(1)
		return c.standIn(found, missing, err)
	}
	slow := c.o.Now().Sub(at) >= slowLoad
	for _, id := range missing {
		entry, exists := loaded[id]
		if exists {
			found[id] = entry
		}
		if !slow {
			c.keep(id, &item{Entry: entry, missing: !exists, at: at})
		}
	}
	return found, nil
}

// standIn adds old entries for what could not be loaded; the error when one has none.
func (c *Cache) standIn(found map[string]Entry, missing []string, err error) (map[string]Entry, error) {
	for _, id := range missing {
		i, ok := c.memory.GetIfPresent(id)
		if !ok || i.dropped || i.missing || c.o.Now().Sub(i.at) >= c.o.StaleIfError {
			return nil, err
		}
		c.stats.stale.Add(1)
		found[id] = i.Entry
	}
	return found, nil
}
