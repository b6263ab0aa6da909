"""What the machine makes of the sleep: 16 threads that do nothing else; prints how many sleeps a second there were.

``bare_wsgi_sleep.py THREADS SECONDS``
"""

import sys
import threading
import time

from wsgi_apps import sleep

if __name__ == "__main__":
    count, seconds = int(sys.argv[1]), float(sys.argv[2])
    begin = time.perf_counter()
    done = [0] * count

    def run(number: int) -> None:
        while time.perf_counter() < begin + seconds:
            sleep({}, lambda status, headers: None)
            done[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(done) / (time.perf_counter() - begin))
