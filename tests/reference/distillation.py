"""Self-distillation in loops over plain numbers: slow, and plain to see."""

from math import exp, log, sqrt

Vector = list[float]
Views = list[list[Vector]]  # view, row, answer


def softmax(scores: Vector, temperature: float) -> Vector:
    exps = [exp(score / temperature) for score in scores]
    return [one / sum(exps) for one in exps]


def dino(
    student: Views, teacher: Views, centre: Vector, student_temperature: float, teacher_temperature: float
) -> float:
    total, pairs = 0.0, 0
    for t, of_teacher in enumerate(teacher):
        for v, of_student in enumerate(student):
            if v == t:
                continue
            for taught, said in zip(of_teacher, of_student, strict=True):
                less_centre = [score - c for score, c in zip(taught, centre, strict=True)]
                wanted, given = softmax(less_centre, teacher_temperature), softmax(said, student_temperature)
                total -= sum(p * log(q) for p, q in zip(wanted, given, strict=True))
                pairs += 1
    return total / pairs


def next_centre(centre: Vector, teacher: Views, momentum: float) -> Vector:
    rows = [row for view in teacher for row in view]
    means = [sum(row[k] for row in rows) / len(rows) for k in range(len(centre))]
    return [momentum * old + (1 - momentum) * mean for old, mean in zip(centre, means, strict=True)]


def cosine_scores(z: list[Vector], directions: list[Vector]) -> list[Vector]:
    def unit(x: Vector) -> Vector:
        return [one / sqrt(sum(other * other for other in x)) for one in x]

    return [[sum(a * b for a, b in zip(unit(x), unit(y), strict=True)) for y in directions] for x in z]
