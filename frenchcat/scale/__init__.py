"""What a list would cost on many machines: `frenchcat plan`.

settings.py   machines, prices, and what is assumed where nobody said
rates.py      what a stage costs per row, from measured runs
plan.py       rates and machines -> time, machines, storage, traffic, money
laion.py      what is published of LAION-5B's run, and the same of a plan
table.py      a plan for people
"""
