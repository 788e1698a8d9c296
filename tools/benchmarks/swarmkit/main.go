// Swarmkit's scheduling loop on its own store in memory, for `tools/bench scheduler swarmkit`.
//
// usage: swarmkit same|own NODES TASKS
//
//	same  the store is filled, then the loop is started: what Warren's case "writes" measures. Each task is of a service of
//	      its own and reserves processor and memory.
//	own   the steps of swarmkit's benchmark, manager/scheduler BenchmarkScheduler1kNodes10kTasks: the loop runs, then one
//	      transaction creates all; timed from its commit. Tasks have no service and reserve nothing.
//
// Both end with the last task that a watch has seen ASSIGNED. Prints {"processorMs":…,"clockMs":…} as JSON: user and
// system time of the process, its collector's threads among it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/identity"
	"github.com/moby/swarmkit/v2/manager/scheduler"
	"github.com/moby/swarmkit/v2/manager/state"
	"github.com/moby/swarmkit/v2/manager/state/store"
)

func processorMs() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e6
}

func node(n int, resources *api.Resources) *api.Node {
	return &api.Node{
		ID:          identity.NewID(),
		Spec:        api.NodeSpec{Annotations: api.Annotations{Name: "name" + strconv.Itoa(n), Labels: map[string]string{}}},
		Status:      api.NodeStatus{State: api.NodeStatus_READY},
		Description: &api.NodeDescription{Engine: &api.EngineDescription{}, Resources: resources},
	}
}

func task(n int) *api.Task {
	id := "task" + strconv.Itoa(n)
	return &api.Task{
		ID:                 id,
		DesiredState:       api.TaskStateRunning,
		ServiceAnnotations: api.Annotations{Name: id},
		Status:             api.TaskStatus{State: api.TaskStatePending},
	}
}

// reserving is a task of a service of its own that reserves what Warren's do.
func reserving(n int) *api.Task {
	t := task(n)
	t.ServiceID = "service" + strconv.Itoa(n)
	t.SpecVersion = &api.Version{Index: 1}
	t.Spec = api.TaskSpec{Resources: &api.ResourceRequirements{
		Reservations: &api.Resources{NanoCPUs: 1e7, MemoryBytes: 1 << 20},
	}}
	return t
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	if len(os.Args) != 4 || (os.Args[1] != "same" && os.Args[1] != "own") {
		fmt.Fprintln(os.Stderr, "usage: swarmkit same|own NODES TASKS")
		os.Exit(2)
	}
	same := os.Args[1] == "same"
	nodes, err := strconv.Atoi(os.Args[2])
	must(err)
	tasks, err := strconv.Atoi(os.Args[3])
	must(err)

	s := store.NewMemoryStore(nil)
	loop := scheduler.New(s)
	watch, cancel := state.Watch(s.WatchQueue(), api.EventUpdateTask{})
	defer cancel()
	run := func() { go func() { must(loop.Run(context.Background())) }() }

	var resources *api.Resources
	makeTask := task
	if same {
		resources = &api.Resources{NanoCPUs: 1e12, MemoryBytes: 1 << 40}
		makeTask = reserving
	} else {
		run()
		runtime.Gosched()
	}
	var processor float64
	var clock time.Time
	start := func() { processor, clock = processorMs(), time.Now() }
	must(s.Update(func(tx store.Tx) error {
		for i := 0; i < nodes; i++ {
			must(store.CreateNode(tx, node(i, resources)))
		}
		for i := 0; i < tasks; i++ {
			must(store.CreateTask(tx, makeTask(i)))
		}
		start()
		return nil
	}))
	if same {
		runtime.GC()
		start()
		run()
	}
	for assigned := 0; assigned < tasks; {
		event := (<-watch).(api.EventUpdateTask)
		if event.Task.Status.State == api.TaskStateAssigned {
			assigned++
		}
	}
	result := map[string]float64{
		"processorMs": processorMs() - processor,
		"clockMs":     float64(time.Since(clock).Microseconds()) / 1e3,
	}
	loop.Stop()
	must(json.NewEncoder(os.Stdout).Encode(result))
}
