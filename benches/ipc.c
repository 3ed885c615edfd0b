/*
 * Throughput of System V ipc. Prints nanoseconds for each of: a semaphore handed to another process and back, a
 * message of 1 KiB passed to another process, a MiB of shared memory made, attached, written, detached and removed;
 * then for the bare calls by one process alone, semop(2) and msgsnd(2) with msgrcv(2). The median of several batches
 * of each.
 *
 * With an argument, under a filter that denies nothing: the kernel's price of any filter.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 15
#define MIB (1 << 20)

static int check(int done, const char *doing)
{
	if (done < 0) {
		fprintf(stderr, "ipc: %s: %s\n", doing, strerror(errno));
		exit(1);
	}
	return done;
}

/* Of one process the processor's time, which no neighbour takes; of two also what passes between them. */
static double now(clockid_t clock)
{
	struct timespec t;
	check(clock_gettime(clock, &t), "clock_gettime");
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static pid_t other(void)
{
	return check(fork(), "fork");
}

static void join(pid_t child)
{
	int status;
	check(waitpid(child, &status, 0), "waitpid");
	if (status)
		exit(1);
}

static void hand_over(int count)
{
	int set = check(semget(IPC_PRIVATE, 2, 0600), "semget");
	pid_t child = other();
	struct sembuf give = { .sem_num = child ? 0 : 1, .sem_op = 1 }, take = { .sem_num = child ? 1 : 0, .sem_op = -1 };
	for (int i = 0; i < count; i++) {
		check(child ? semop(set, &give, 1) : semop(set, &take, 1), "semop");
		check(child ? semop(set, &take, 1) : semop(set, &give, 1), "semop");
	}
	if (!child)
		_exit(0);
	join(child);
	check(semctl(set, 0, IPC_RMID), "semctl");
}

static void pass_on(int count)
{
	static struct { long type; char text[1024]; } message = { .type = 1 };
	int queue = check(msgget(IPC_PRIVATE, 0600), "msgget");
	pid_t child = other();
	for (int i = 0; i < count; i++)
		check(child ? msgsnd(queue, &message, sizeof message.text, 0)
			    : (int)msgrcv(queue, &message, sizeof message.text, 0, 0), "a message");
	if (!child)
		_exit(0);
	join(child);
	check(msgctl(queue, IPC_RMID, NULL), "msgctl");
}

static void semaphores(int count)
{
	int set = check(semget(IPC_PRIVATE, 1, 0600), "semget");
	for (int i = 0; i < count; i++) {
		struct sembuf op = { .sem_num = 0, .sem_op = i % 2 ? -1 : 1 };
		check(semop(set, &op, 1), "semop");
	}
	check(semctl(set, 0, IPC_RMID), "semctl");
}

static void messages(int count)
{
	struct { long type; char text[64]; } message = { .type = 1 };
	int queue = check(msgget(IPC_PRIVATE, 0600), "msgget");
	for (int i = 0; i < count; i++) {
		check(msgsnd(queue, &message, sizeof message.text, 0), "msgsnd");
		check((int)msgrcv(queue, &message, sizeof message.text, 0, 0), "msgrcv");
	}
	check(msgctl(queue, IPC_RMID, NULL), "msgctl");
}

static void memory(int count)
{
	for (int i = 0; i < count; i++) {
		int segment = check(shmget(IPC_PRIVATE, MIB, 0600), "shmget");
		void *at = shmat(segment, NULL, 0);
		check(at == (void *)-1 ? -1 : 0, "shmat");
		memset(at, i + 1, MIB);
		check(shmdt(at), "shmdt");
		check(shmctl(segment, IPC_RMID, NULL), "shmctl");
	}
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void measure(const char *name, void (*work)(int), clockid_t clock, int count)
{
	double took[BATCHES];
	work(count / 4);
	for (int i = 0; i < BATCHES; i++) {
		double start = now(clock);
		work(count);
		took[i] = (now(clock) - start) / count;
	}
	qsort(took, BATCHES, sizeof *took, order);
	printf("%s %.1f\n", name, took[BATCHES / 2]);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		struct sock_fprog filter = { .len = 1, .filter = &allow };
		check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
		check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), "PR_SET_SECCOMP");
	}
	/* On one processor: which of several a process is woken on is chance. */
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(check(sched_getcpu(), "sched_getcpu"), &one);
	check(sched_setaffinity(0, sizeof one, &one), "sched_setaffinity");
	measure("semaphore handed over", hand_over, CLOCK_MONOTONIC, 5000);
	measure("message passed on", pass_on, CLOCK_MONOTONIC, 10000);
	measure("shm", memory, CLOCK_THREAD_CPUTIME_ID, 10);
	measure("semop alone", semaphores, CLOCK_THREAD_CPUTIME_ID, 20000);
	measure("msgsnd+msgrcv alone", messages, CLOCK_THREAD_CPUTIME_ID, 10000);
	return fflush(stdout) ? 1 : 0;
}
